"""Rounds over the views until an object has converged; sessions, corrections, undo."""
