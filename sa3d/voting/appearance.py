"""Appearance of an object in accepted views, for segmenters without weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sa3d.segmenters.protocol import LearnsAppearance, PromptableSegmenter


class AppearanceMemory:
    """Samples of object and surroundings by view; segmenters with weights ignore them."""

    def __init__(self, max_views: int) -> None:
        """Limit the number of views whose samples a segmenter gets; 0 for none."""
        self._max_views = max_views
        self._samples: dict[int, np.ndarray] = {}

    def copy(self) -> AppearanceMemory:
        """Return a copy that is changed independently."""
        other = AppearanceMemory(self._max_views)
        other._samples = dict(self._samples)
        return other

    def learn(self, segmenter: PromptableSegmenter, view: int, mask: np.ndarray) -> None:
        """Sample the segmenter's current image, which is ``view``, with its mask [H, W] bool.

        An empty mask gives no samples.
        """
        if self._max_views and isinstance(segmenter, LearnsAppearance) and mask.any():
            self._samples[view] = segmenter.sample_appearance(mask)

    def show(self, segmenter: PromptableSegmenter, views: Sequence[int]) -> None:
        """Give the segmenter the samples of the first of ``views`` that have samples."""
        if isinstance(segmenter, LearnsAppearance):
            sampled = [self._samples[view] for view in views if view in self._samples]
            samples = sampled[: self._max_views]
            segmenter.set_appearance(np.stack(samples) if samples else None)
