"""Batches: runs many jobs from a file, in one process or several."""
