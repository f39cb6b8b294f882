"""Opens a trained run: config, checkpoint, model, cameras, photos."""
