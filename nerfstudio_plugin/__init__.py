"""Adapts Nerfstudio to ``sa3d``: opens trained runs, trains and shows segmentations."""
