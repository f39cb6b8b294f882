"""What an earlier mask says about each pixel, as trimaps for the graph cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sa3d.segmenters.graphcut.cut import (
    BACKGROUND,
    MAYBE_BACKGROUND,
    MAYBE_OBJECT,
    OBJECT,
)
from sa3d.segmenters.graphcut.logits import signed_distance


@dataclass(frozen=True)
class Band:
    """How far a mask may be wrong, as shares of its size ``sqrt(area)``.

    Attributes:
        core: deeper inside than this is object for certain.
        reach: further outside than this is background for certain.
    """

    core: float
    reach: float


NORMAL, LOOSE = Band(0.05, 0.10), Band(0.08, 0.14)
GROWN = Band(0.12, 0.20)
"""Bands for learning colors, for the cut itself, and for regions grown from clicks."""


UNDECIDED, UNDECIDED_OPENING, UNDECIDED_REACH = 0.2, 0.03, 0.5
"""How near 0.5 a soft mask does not know; the half width such areas have at least, and how far
beyond the mask's border they count (shares of its size)."""

BLUR = 0.02
"""Standard deviation of the blur that calms an earlier mask's border, as a share of its size."""


def mask_trimap(distance: np.ndarray, size: float, band: Band) -> np.ndarray:
    """What an earlier mask says: certain core, certain outside, and a band between.

    Args:
        distance: [h, w] signed distance to the mask's border, pixels, positive inside.
        size: sqrt of the mask's area, pixels.
        band: how far the mask may be wrong.
    """
    trimap = np.where(distance > 0, MAYBE_OBJECT, MAYBE_BACKGROUND).astype(np.uint8)
    trimap[distance > band.core * size] = OBJECT
    trimap[distance < -max(2.0, band.reach * size)] = BACKGROUND
    return trimap


def smoothed_distance(soft_mask: np.ndarray) -> tuple[np.ndarray, float]:
    """Signed distance [h, w] to the border of a soft mask [h, w], and its size in pixels.

    The mask is blurred by BLUR of its size first: a rendered mask's border wobbles.
    """
    import cv2

    size = float(np.sqrt(max((soft_mask > 0.5).sum(), 1)))
    blurred = cv2.GaussianBlur(soft_mask.astype(np.float32), (0, 0), max(BLUR * size, 0.3))
    smooth = blurred > 0.5
    return signed_distance(smooth if smooth.any() else soft_mask > 0.5), size


def undecided(soft_mask: np.ndarray, distance: np.ndarray, size: float) -> np.ndarray:
    """Where a soft mask does not know, beside the object and within its reach: [h, w] bool.

    Values near 0.5 over an area, not along a border, mean that no other view has seen this part.

    Args:
        soft_mask: [h, w] in [0, 1].
        distance: [h, w] signed distance to the mask's border, pixels.
        size: sqrt of the mask's area, pixels.
    """
    import cv2

    near_half = (np.abs(soft_mask - 0.5) < UNDECIDED).astype(np.uint8)
    side = 2 * max(1, round(UNDECIDED_OPENING * size)) + 1
    areas = cv2.morphologyEx(near_half, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    return (areas > 0) & (distance <= 0) & (distance > -UNDECIDED_REACH * size)


def relative_depth(distance: np.ndarray, depth: float) -> np.ndarray:
    """How deep each pixel lies in a mask, between -1 (far outside) and 1: [h, w] float32.

    Where the mask is thinner than ``depth`` pixels its middle counts as deep all the same, so that
    thin parts have as much to say for themselves as thick ones.

    Args:
        distance: [h, w] signed distance to the mask's border, pixels.
        depth: pixels.
    """
    import cv2

    side = 2 * max(1, round(depth)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    half_width = np.clip(cv2.dilate(distance, kernel), 1.0, depth)
    return np.tanh(distance / np.where(distance > 0, half_width, depth)).astype(np.float32)
