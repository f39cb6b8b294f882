"""Tidying a cut: specks and whiskers go, holes close, clicked parts stay, thin parts stay."""

from __future__ import annotations

import numpy as np

KEPT_COMPONENT = 0.25
"""Components without a click stay from this share of the largest one's area."""

FILLED_HOLE = 0.03
"""Holes up to this share of the mask's area are filled."""

THIN_PART_PX = 25
"""What an opening removes is noise below this many pixels in one piece, a thin part above it."""


def clean(mask: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Remove specks and small holes of ``mask`` [h, w] bool.

    Args:
        mask: [h, w] bool.
        positive, negative: [N, 2] clicks (x, y) in pixels of the mask.
    """
    return _fill_holes(_keep_components(_open_gently(mask), positive), negative)


def _open_gently(mask: np.ndarray) -> np.ndarray:
    """3x3 opening that gives back the elongated pieces it took (lines of up to 2 px)."""
    import cv2

    binary = mask.astype(np.uint8)
    opened = cv2.morphologyEx(binary, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(binary - opened, connectivity=8)
    if count <= 1:
        return opened.astype(bool)
    kept = stats[:, cv2.CC_STAT_AREA] >= THIN_PART_PX
    kept[0] = False
    return opened.astype(bool) | kept[np.asarray(labels, np.int32)]


def _keep_components(mask: np.ndarray, positive: np.ndarray) -> np.ndarray:
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    if count <= 2:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    kept = np.zeros(count, bool)
    kept[_labels_at(labels, positive)] = True
    kept[0] = False
    kept |= areas >= KEPT_COMPONENT * (areas[kept].max() if kept.any() else areas.max())
    kept[0] = False
    return kept[np.asarray(labels, np.int32)]


def _fill_holes(mask: np.ndarray, negative: np.ndarray) -> np.ndarray:
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        (~mask).astype(np.uint8), connectivity=4
    )
    filled = stats[:, cv2.CC_STAT_AREA] <= FILLED_HOLE * mask.sum()
    x0, y0 = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    x1, y1 = x0 + stats[:, cv2.CC_STAT_WIDTH], y0 + stats[:, cv2.CC_STAT_HEIGHT]
    at_border = (x0 == 0) | (y0 == 0) | (x1 == mask.shape[1]) | (y1 == mask.shape[0])
    filled &= ~at_border
    filled[0] = False
    filled[_labels_at(labels, negative)] = False
    return mask | filled[np.asarray(labels, np.int32)] if count > 1 else mask


def _labels_at(labels: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """The labels under points [N, 2] that lie inside."""
    index = np.rint(np.asarray(xy, np.float64).reshape(-1, 2)).astype(int)
    inside = (index >= 0).all(1) & (index < labels.shape[::-1]).all(1)
    return labels[index[inside, 1], index[inside, 0]]
