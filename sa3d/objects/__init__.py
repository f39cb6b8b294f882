"""Data of an object: prompts, evidence, events, colors, and the saved segmentation."""
