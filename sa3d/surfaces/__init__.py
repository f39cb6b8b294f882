"""The geometry of a scene without masks: connected surfaces, and what stands out."""
