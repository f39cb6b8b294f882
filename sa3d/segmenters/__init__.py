"""Promptable segmenters, one file per backend."""

from __future__ import annotations

from sa3d.segmenter import PromptableSegmenter


def load_segmenter(name: str, device: str = "cpu") -> PromptableSegmenter:
    """The segmenter called ``name``: "graphcut"."""
    from sa3d.errors import SA3DError
    from sa3d.segmenters.graphcut import GraphCutSegmenter

    if name == "graphcut":
        return GraphCutSegmenter()
    raise SA3DError(f"unknown segmenter {name!r}; known: graphcut")
