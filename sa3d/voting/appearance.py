"""What an object looks like in the views already accepted, for segmenters that can use it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sa3d.segmenters.protocol import LearnsAppearance, PromptableSegmenter


class AppearanceMemory:
    """Samples of object and surroundings per view; does nothing for segmenters with weights."""

    def __init__(self, max_views: int) -> None:
        """Shows a segmenter the samples of at most ``max_views`` views at a time; 0: none."""
        self._max_views = max_views
        self._samples: dict[int, np.ndarray] = {}

    def copy(self) -> AppearanceMemory:
        """A memory that learns on its own from here."""
        other = AppearanceMemory(self._max_views)
        other._samples = dict(self._samples)
        return other

    def learn(self, segmenter: PromptableSegmenter, view: int, mask: np.ndarray) -> None:
        """Sample the segmenter's current image, which is ``view``, with its mask [H, W].

        An empty mask, which a split or the user can leave behind, teaches nothing.
        """
        if self._max_views and isinstance(segmenter, LearnsAppearance) and mask.any():
            self._samples[view] = segmenter.sample_appearance(mask)

    def show(self, segmenter: PromptableSegmenter, views: Sequence[int]) -> None:
        """Let the segmenter use the samples of ``views``, the first ones first."""
        if isinstance(segmenter, LearnsAppearance):
            known = [self._samples[view] for view in views if view in self._samples]
            samples = known[: self._max_views]
            segmenter.set_appearance(np.stack(samples) if samples else None)
