"""Segmenters and detectors, loaded once and kept."""

from __future__ import annotations

from collections.abc import Sequence

from sa3d.detectors.loading import load_detector
from sa3d.detectors.protocol import TextDetector
from sa3d.objects.prompts import Prompt
from sa3d.search.text_prompts import needs_words
from sa3d.segmenters.loading import load_segmenter
from sa3d.segmenters.protocol import PromptableSegmenter


class Models:
    """Segmenters and detectors by name: each is loaded when it is first asked for, and kept.

    Opened scenes can share them.
    """

    def __init__(self, device: str = "cpu") -> None:
        """Load nothing yet.

        Args:
            device: torch device.
        """
        self.device = device
        self._segmenters: dict[str, PromptableSegmenter] = {}
        self._detectors: dict[str, TextDetector] = {}

    def segmenter(self, name: str) -> PromptableSegmenter:
        """Return the segmenter of a name, as ``sa3d segmenters`` lists them.

        Raises:
            SA3DError: the name is unknown, or the weights cannot be loaded.
        """
        if name not in self._segmenters:
            self._segmenters[name] = load_segmenter(name, self.device)
        return self._segmenters[name]

    def detector(self, name: str) -> TextDetector:
        """Return the text detector of a name, as ``sa3d segmenters`` lists them.

        Raises:
            SA3DError: the name is unknown, or the weights cannot be loaded.
        """
        if name not in self._detectors:
            self._detectors[name] = load_detector(name, self.device)
        return self._detectors[name]


def detector_for(prompts: Sequence[Prompt], name: str, device: str) -> TextDetector | None:
    """Load a detector if any of the prompts has words to find; return None if none has.

    Args:
        name: as ``sa3d segmenters`` lists them.
        device: torch device.

    Raises:
        SA3DError: see ``load_detector``.
    """
    return load_detector(name, device) if any(map(needs_words, prompts)) else None
