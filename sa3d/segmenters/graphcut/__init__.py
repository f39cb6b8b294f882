"""The embedded segmenter: graph cuts that take SAM's prompts and need no weights."""
