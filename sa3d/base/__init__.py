"""Errors, value checks, atomic file writes and undo; imports no other room of ``sa3d``."""
