"""Colors of an object and its surroundings, to be recognised by in other views."""

from __future__ import annotations

import numpy as np

SAMPLES = 256
"""Colors of each kind: a mixture of five Gaussians learns little more from more."""

SURROUNDINGS = 0.35
"""Width of the ring that counts as surroundings, as a share of the mask's size."""

SKIPPED_PX = 2
"""Pixels beside the mask's border that are left out: mixed colors, and the mask's own errors."""


def sample_colors(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Colors of the object and of what surrounds it, evenly over their pixels.

    Args:
        image: [H, W, 3] uint8.
        mask: [H, W] bool, not empty.

    Returns:
        [2, SAMPLES, 3] uint8, object first. Where the mask has no surroundings (it fills the
        image) both are the object's colors, which tell nothing.
    """
    size = float(np.sqrt(mask.sum()))
    inner = _grown(mask, -SKIPPED_PX) if size > 8 * SKIPPED_PX else mask
    ring = _grown(mask, round(SURROUNDINGS * size) + SKIPPED_PX) & ~_grown(mask, SKIPPED_PX)
    inside = image[inner if inner.any() else mask]
    outside = image[ring] if ring.any() else inside
    return np.stack([_evenly(inside), _evenly(outside)])


def _evenly(colors: np.ndarray) -> np.ndarray:
    return colors[np.linspace(0, len(colors) - 1, SAMPLES).astype(int)]


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """The pixels within a distance of the mask, or (pixels < 0) that deep inside it."""
    import cv2

    away = (~mask if pixels > 0 else mask).astype(np.uint8)
    distance = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_3)
    return distance <= pixels if pixels > 0 else distance > -pixels
