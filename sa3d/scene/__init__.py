"""Views of a frozen field, their operators ``W``, and the cache on disk."""
