"""Rendering of segmentations for the viewer and for ``ns-render``."""
