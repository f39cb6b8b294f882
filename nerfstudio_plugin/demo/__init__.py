"""The demo scenes that are part of the package."""
