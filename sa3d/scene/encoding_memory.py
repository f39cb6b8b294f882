"""Image encodings kept in memory, beside those on the disk."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class EncodingMemory:
    """Image encodings of one segmenter, at hand: the first ones used, up to a number of bytes.

    Rounds go over all views again and again: where not all of them fit, throwing out the oldest
    would throw out each just before it is needed.
    """

    def __init__(self, max_bytes: int = 1 << 29) -> None:
        self._left = self._max = max_bytes
        self._segmenter = ""
        self._states: dict[int, Mapping[str, np.ndarray]] = {}

    def get(self, index: int, segmenter: str) -> Mapping[str, np.ndarray] | None:
        """The encoding of a view, if it is here."""
        return self._states.get(index) if segmenter == self._segmenter else None

    def put(self, index: int, segmenter: str, state: Mapping[str, np.ndarray]) -> None:
        """Keep an encoding if there is room; another segmenter's are forgotten."""
        if segmenter != self._segmenter:
            self._states, self._left, self._segmenter = {}, self._max, segmenter
        size = sum(array.nbytes for array in state.values())
        if index not in self._states and size <= self._left:
            self._states[index], self._left = state, self._left - size
