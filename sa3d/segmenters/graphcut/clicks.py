"""Points in trimaps, and candidate regions from points alone."""

from __future__ import annotations

import numpy as np

from sa3d.segmenters.graphcut.cut import BACKGROUND, MAYBE_BACKGROUND, OBJECT
from sa3d.segmenters.graphcut.superpixels import Superpixels

DISC_PX = 4
"""Radius of the disc around a point that is certain, region pixels."""

SURE_DISTANCE = 3.0
"""Geodesic distance below which a superpixel certainly has the label of a point."""

CLEARLY_NEARER = 0.7
"""A superpixel may be background if a negative point is nearer by this factor."""

NO_POSITIVE_DISTANCE = 8.0
"""Distance to the positive points that is assumed if there are none."""

AREA_BANDS = ((0.002, 0.02), (0.02, 0.08), (0.08, 0.25), (0.25, 0.75))
"""Ranges of a region's share of the image; the best region in each is proposed."""

GAP_WEIGHT = 0.35
"""Weight, in a region's merit, of the gap in geodesic distance behind the region."""

FRAME_WEIGHT = 0.5
"""Weight, in a region's merit, of the region's contact with the image's frame."""

HULL_FROM_CLICKS = 3
"""Number of positive points from which their convex hull is proposed too."""

HULL_GROWTH = (0.15, 0.4)
"""Dilations of the hull of the positive points, as shares of its size."""


def spread_clicks(
    trimap: np.ndarray,
    superpixels: Superpixels,
    positive: np.ndarray,
    negative: np.ndarray,
    where: np.ndarray | None = None,
) -> None:
    """Write the geodesic neighbourhoods of points into a trimap, in place.

    Args:
        trimap: [h, w] uint8 labels.
        superpixels: of the same image.
        positive, negative: [N, 2] points (x, y).
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
    """Write certain discs around points [N, 2] into a trimap [h, w], in place."""
    import cv2

    for points, label in ((negative, BACKGROUND), (positive, OBJECT)):
        for x, y in np.rint(points).astype(int).tolist():
            cv2.circle(trimap, (x, y), DISC_PX, (label,), thickness=-1)
    # A disc must not cover a point of the other label next to it.
    for points, label in ((negative, BACKGROUND), (positive, OBJECT)):
        for x, y in np.rint(points).astype(int).tolist():
            cv2.circle(trimap, (x, y), 0, (label,), thickness=-1)


def discs(shape: tuple[int, ...], points: np.ndarray, radius: float) -> np.ndarray:
    """Return the union of discs around points [N, 2]: [h, w] bool."""
    import cv2

    canvas = np.zeros(shape, np.uint8)
    for x, y in np.rint(points).astype(int).tolist():
        cv2.circle(canvas, (x, y), max(1, round(radius)), (1,), thickness=-1)
    return canvas.astype(bool)


def grow_regions(
    superpixels: Superpixels, positive: np.ndarray, negative: np.ndarray
) -> list[np.ndarray]:
    """Grow regions around the positive points, and return the best of each range of areas.

    Superpixels are ordered by their geodesic distance from the points, and every prefix of that
    order is a candidate. Its merit is the color step along its border, plus the jump in distance
    behind it, minus its contact with the image's frame.

    Args:
        superpixels: of the whole image.
        positive, negative: [N, 2] points (x, y).

    Returns:
        Regions [h, w] bool, by growing area.
    """
    distance = superpixels.geodesic(superpixels.at(positive))
    if len(negative):
        blocked = superpixels.geodesic(superpixels.at(negative)) < distance
        distance = np.where(blocked, np.inf, distance)
    order = np.argsort(distance, kind="stable")
    order = order[np.isfinite(distance[order])]
    merit = _prefix_merits(superpixels, order, distance)
    share = np.cumsum(superpixels.areas[order]) / superpixels.areas.sum()
    regions = []
    for low, high in AREA_BANDS:
        inside = np.flatnonzero((share >= low) & (share < high))
        if len(inside):
            end = inside[np.argmax(merit[inside])]
            chosen = np.zeros(len(superpixels.areas), bool)
            chosen[order[: end + 1]] = True
            regions.append(chosen[superpixels.labels])
    if not regions and len(order):
        chosen = np.zeros(len(superpixels.areas), bool)
        chosen[order[: max(1, len(order) // 4)]] = True
        regions.append(chosen[superpixels.labels])
    if len(positive) >= HULL_FROM_CLICKS:
        regions += _hulls(superpixels.labels.shape, positive)
    return regions


def nested(best_first: list[np.ndarray]) -> list[np.ndarray]:
    """Return masks [h, w] bool by growing area, each inside the next; the first is not changed."""
    best = best_first[0]
    others = sorted(best_first[1:], key=lambda mask: int(mask.sum()))
    smaller, larger = [best], [best]
    for mask in reversed([m for m in others if m.sum() <= best.sum()]):
        smaller.insert(0, mask & smaller[0])
    for mask in [m for m in others if m.sum() > best.sum()]:
        larger.append(mask | larger[-1])
    return smaller[:-1] + larger


def _prefix_merits(superpixels: Superpixels, order: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Return the merits of the regions ``order[:k + 1]``: [len(order)]."""
    count = len(superpixels.areas)
    rank = np.full(count, len(order))
    rank[order] = np.arange(len(order))
    low, high = np.sort(rank[superpixels.edges], axis=1).T
    a, b = superpixels.edges.T
    step = np.linalg.norm(superpixels.colors[a] - superpixels.colors[b], axis=1)
    border = superpixels.border.astype(float)
    # An edge is on the border of the prefixes that contain only the lower of its two ranks.
    contrast = _sum_over_ranks(low, high, border * step, len(order))
    length = _sum_over_ranks(low, high, border, len(order))
    labels = superpixels.labels
    frame = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    touch = np.cumsum(np.bincount(frame, minlength=count)[order])
    mean_step = contrast / np.maximum(length, 1)
    scale = max(float(mean_step.max()), 1e-6)
    gap = np.diff(distance[order], append=distance[order[-1]])
    gap_scale = max(float(np.percentile(gap, 99)), 1e-6)
    return (
        mean_step / scale
        + GAP_WEIGHT * np.minimum(gap / gap_scale, 1)
        - FRAME_WEIGHT * touch / np.maximum(length + touch, 1)
    )


def _sum_over_ranks(
    low: np.ndarray, high: np.ndarray, weight: np.ndarray, count: int
) -> np.ndarray:
    """Return the sums of ``weight`` over ``low <= k < high`` for each k: [count]."""
    change = np.bincount(low, weight, count + 1) - np.bincount(high, weight, count + 1)
    return np.cumsum(change)[:count]


def _hulls(shape: tuple[int, ...], positive: np.ndarray) -> list[np.ndarray]:
    import cv2

    hull = cv2.convexHull(np.rint(positive).astype(np.int32))
    size = float(np.ptp(positive, axis=0).max())
    regions = []
    for growth in HULL_GROWTH:
        canvas = np.zeros(shape, np.uint8)
        cv2.fillConvexPoly(canvas, hull, (1,))
        side = 2 * max(2, round(growth * size)) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        regions.append(cv2.dilate(canvas, kernel).astype(bool))
    return regions
