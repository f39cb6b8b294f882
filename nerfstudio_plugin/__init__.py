"""Adapts Nerfstudio to :mod:`sa3d`: opens trained runs, trains and shows segmentations."""
