"""What the geometry of a scene tells by itself: connected surfaces and what stands out."""
