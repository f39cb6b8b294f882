"""Evaluation of segmentations: IoU with exact masks, baselines, a simulated user."""
