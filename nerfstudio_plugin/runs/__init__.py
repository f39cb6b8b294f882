"""Opens a trained run: config, checkpoint, weights, cameras, photos."""
