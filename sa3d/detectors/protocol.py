"""The protocol of a text detector: words and an image in, boxes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from sa3d.base.errors import SA3DError


@dataclass(frozen=True)
class Detections:
    """K detections of the objects that words name, best first, also those below the threshold.

    Attributes:
        boxes: [K, 4] float32 x0, y0, x1, y1 in pixels of the image; they are edges, so the whole
            image is (0, 0, W, H).
        scores: [K] float32 in [0, 1].
        masks: [K, H, W] bool if the detector makes masks, else None.
    """

    boxes: np.ndarray
    scores: np.ndarray
    masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, chosen: np.ndarray) -> Detections:
        """Return some of the detections; ``chosen`` holds indices, or is a bool array [K]."""
        masks = None if self.masks is None else self.masks[chosen]
        return Detections(self.boxes[chosen], self.scores[chosen], masks)


@runtime_checkable
class TextDetector(Protocol):
    """A detector that finds the objects in an image that words name.

    Example:
        >>> found = detector.detect(image, "the red mug")
        >>> found.boxes[found.scores >= detector.threshold]
        array([[112.,  80., 196., 171.]], dtype=float32)
    """

    @property
    def name(self) -> str:
        """Name of the model, for users."""
        ...

    @property
    def threshold(self) -> float:
        """Score from which a detection counts by default."""
        ...

    def detect(self, image: np.ndarray, text: str) -> Detections:
        """Detect the objects in an image that words name.

        Args:
            image: [H, W, 3] uint8 RGB.
            text: the words.

        Raises:
            SA3DError: there are no words, or too little memory.
            ValueError: the image has another shape or type.
        """
        ...


def checked_words(text: str) -> str:
    """Return words with single spaces between them.

    Raises:
        SA3DError: the text has no letters or digits.
    """
    words = " ".join(text.split())
    if not any(character.isalnum() for character in words):
        raise SA3DError("the text is empty: name the object in words, such as text='the red mug'")
    return words
