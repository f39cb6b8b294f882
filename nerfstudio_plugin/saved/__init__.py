"""A segmentation with the run it was made in: written, and opened again."""
