"""Clicks in a trimap: each spreads over what looks connected to it."""

from __future__ import annotations

import numpy as np

from sa3d.segmenters.graphcut.cut import BACKGROUND, MAYBE_BACKGROUND, OBJECT
from sa3d.segmenters.graphcut.superpixels import Superpixels

DISC_PX = 4
"""Radius around a click that is certain, region pixels."""

SURE_DISTANCE = 3.0
"""Geodesic distance (dE) below which a superpixel shares the click's label for certain."""

CLEARLY_NEARER = 0.7
"""A superpixel leans to background if a negative click is nearer by this factor."""

NO_POSITIVE_DISTANCE = 8.0
"""Stands for the distance to a positive click where there are only negative ones."""


def spread_clicks(
    trimap: np.ndarray,
    superpixels: Superpixels,
    positive: np.ndarray,
    negative: np.ndarray,
    where: np.ndarray | None = None,
) -> None:
    """Write the geodesic neighbourhoods of clicks into ``trimap`` [h, w], in place.

    Args:
        trimap: [h, w] labels.
        superpixels: of the same picture.
        positive, negative: [N, 2] clicks (x, y).
        where: [h, w] bool, the part of the trimap that may change, or None for all.
    """
    count = len(superpixels.areas)
    to_object = np.full(count, NO_POSITIVE_DISTANCE)
    to_background = np.full(count, np.inf)
    if len(positive):
        to_object = superpixels.geodesic(superpixels.at(positive))
    if len(negative):
        to_background = superpixels.geodesic(superpixels.at(negative))
    unchanged = 255
    label = np.full(count, unchanged, np.uint8)
    label[to_background < CLEARLY_NEARER * to_object] = MAYBE_BACKGROUND
    label[(to_background < SURE_DISTANCE) & (to_background < to_object)] = BACKGROUND
    if len(positive):
        label[(to_object < SURE_DISTANCE) & (to_object < to_background)] = OBJECT
    spread = label[superpixels.labels]
    changes = spread != unchanged
    if where is not None:
        changes &= where
    trimap[changes] = spread[changes]


def stamp_clicks(trimap: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> None:
    """Write a certain disc around every click into ``trimap`` [h, w], in place."""
    import cv2

    for points, label in ((negative, BACKGROUND), (positive, OBJECT)):
        for x, y in np.rint(points).astype(int).tolist():
            cv2.circle(trimap, (x, y), DISC_PX, (label,), thickness=-1)
    # A disc must not swallow the other kind's click next to it.
    for points, label in ((negative, BACKGROUND), (positive, OBJECT)):
        for x, y in np.rint(points).astype(int).tolist():
            cv2.circle(trimap, (x, y), 0, (label,), thickness=-1)


def discs(shape: tuple[int, ...], points: np.ndarray, radius: float) -> np.ndarray:
    """The union of discs around points [N, 2]: [h, w] bool."""
    import cv2

    canvas = np.zeros(shape, np.uint8)
    for x, y in np.rint(points).astype(int).tolist():
        cv2.circle(canvas, (x, y), max(1, round(radius)), (1,), thickness=-1)
    return canvas.astype(bool)
