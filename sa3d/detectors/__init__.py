"""Text detectors: words and an image in, boxes out."""
