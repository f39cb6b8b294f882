"""Measures accuracy on frozen scenes and prompts."""
