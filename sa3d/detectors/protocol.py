"""What is needed of a text detector: words in, boxes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from sa3d.base.errors import SA3DError


@dataclass(frozen=True)
class Detections:
    """K things that may be what the words say, best first; those under the threshold, too.

    Attributes:
        boxes: [K, 4] float32 x0, y0, x1, y1 in pixels of the image, edges: the whole image is
            (0, 0, W, H).
        scores: [K] float32 in [0, 1].
        masks: [K, H, W] bool where the detector has masks of its own, else None.
    """

    boxes: np.ndarray
    scores: np.ndarray
    masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, chosen: np.ndarray) -> Detections:
        """Some of them, by index or bool array."""
        masks = None if self.masks is None else self.masks[chosen]
        return Detections(self.boxes[chosen], self.scores[chosen], masks)


@runtime_checkable
class TextDetector(Protocol):
    """Finds what words name."""

    @property
    def name(self) -> str:
        """Names the model, for users."""
        ...

    @property
    def threshold(self) -> float:
        """Score from which a detection counts unless the user says otherwise."""
        ...

    def detect(self, image: np.ndarray, text: str) -> Detections:
        """Look for ``text`` in an image, [H, W, 3] uint8 RGB.

        Raises:
            SA3DError: there are no words, or too little memory.
        """
        ...


def checked_words(text: str) -> str:
    """Words without needless spaces.

    Raises:
        SA3DError: there are none.
    """
    words = " ".join(text.split())
    if not any(character.isalnum() for character in words):
        raise SA3DError("the text is empty: name the object in words, such as --text 'the red mug'")
    return words
