"""A segmentation as one self-contained HTML page."""
