"""The demo scenes that come with the program."""
