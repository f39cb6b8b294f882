"""The Python API: scenes to segment in, and their objects."""
