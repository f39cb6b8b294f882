"""Exports for other programs: masks of the photos, point clouds, meshes, boxes."""
