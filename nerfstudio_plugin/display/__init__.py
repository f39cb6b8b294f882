"""Renders segmentations for the viewer and for ``ns-render``."""
