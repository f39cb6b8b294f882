"""How good a segmentation is: IoU with exact masks, baselines, a simulated user."""
