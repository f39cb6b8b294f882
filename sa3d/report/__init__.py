"""Reports: a segmentation as one self-contained HTML page."""
