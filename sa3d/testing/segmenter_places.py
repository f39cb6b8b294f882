"""Whether a segmenter knows where pixels are: corners, borders, images that are not square."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sa3d.segmenters.protocol import PromptableSegmenter
from sa3d.testing.segmenter_contract import check_prediction

SIZES = ((72, 96), (96, 54))
"""Height and width of a 4:3 picture, and of a 9:16 one."""


@dataclass(frozen=True)
class CornerPicture:
    """A bright block in one corner of a dark picture.

    Attributes:
        image: [H, W, 3] uint8.
        truth: [H, W] bool, the block.
        corner: pixel (x, y) of the picture's corner that the block fills.
    """

    image: np.ndarray
    truth: np.ndarray
    corner: tuple[int, int]

    @property
    def box(self) -> np.ndarray:
        """The block's box, XYXY pixel indices."""
        rows, columns = np.nonzero(self.truth)
        return np.array([columns.min(), rows.min(), columns.max(), rows.max()])

    @property
    def opposite(self) -> tuple[int, int]:
        """The pixel (x, y) of the corner across."""
        height, width = self.truth.shape
        return width - 1 - self.corner[0], height - 1 - self.corner[1]


def corner_pictures() -> list[CornerPicture]:
    """A picture of each size for each of the four corners."""
    pictures = []
    for height, width in SIZES:
        for right, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
            truth = np.zeros((height, width), bool)
            truth[: height // 2, : width // 3] = True
            truth = truth[:: -1 if below else 1, :: -1 if right else 1].copy()
            noise = np.random.default_rng(len(pictures)).normal(0, 5, (height, width, 3))
            image = np.where(truth[..., None], (230, 190, 60), (50, 60, 80)) + noise
            corner = (right * (width - 1), below * (height - 1))
            pictures.append(CornerPicture(image.clip(0, 255).astype(np.uint8), truth, corner))
    return pictures


def check_sizes(make: Callable[[], PromptableSegmenter], pictures: Sequence[CornerPicture]) -> None:
    """Prompts on the outermost pixels are taken, whatever the picture's shape.

    Raises:
        AssertionError: naming what is broken.
    """
    segmenter = make()
    for picture in pictures:
        segmenter.set_image(picture.image)
        height, width = picture.truth.shape
        click: dict[str, Any] = {
            "point_coords": np.array([picture.corner]),
            "point_labels": np.array([1]),
        }
        whole: dict[str, Any] = {"box": np.array([0, 0, width - 1, height - 1])}
        for kind, prompt in {"corner": click, "whole": whole, "both": {**click, **whole}}.items():
            found = segmenter.predict(**prompt)
            check_prediction(found, 1, (height, width), f"{kind} of {width} x {height}")


def check_finds(make: Callable[[], PromptableSegmenter], pictures: Sequence[CornerPicture]) -> None:
    """A segmenter that can see finds the block where it is, to the last pixel of the corner.

    Not for random weights.

    Raises:
        AssertionError: naming what is broken.
    """
    segmenter = make()
    for picture in pictures:
        segmenter.set_image(picture.image)
        label = f"block at {picture.corner} of {picture.truth.shape[::-1]}"
        boxed = segmenter.predict(box=picture.box)
        _check_mask(boxed.masks[0], picture, f"{label}, box")
        again = segmenter.predict(box=picture.box, mask_logits=boxed.logits[0])
        _check_mask(again.masks[0], picture, f"{label}, box and own logits")
        clicks = np.array([picture.corner, picture.opposite])
        clicked = segmenter.predict(clicks, np.array([1, 0]), picture.box)
        _check_mask(clicked.masks[0], picture, f"{label}, box and clicks in two corners")


def _check_mask(mask: np.ndarray, picture: CornerPicture, label: str) -> None:
    x, y = picture.corner
    assert mask[y, x], f"{label}: the corner pixel is missing"
    x, y = picture.opposite
    assert not mask[y, x], f"{label}: the opposite corner is in"
    iou = (mask & picture.truth).sum() / (mask | picture.truth).sum()
    assert iou > 0.9, f"{label}: IoU {iou:.2f}"
