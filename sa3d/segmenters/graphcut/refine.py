"""Refines an earlier mask in an image, as the loop asks for in every view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sa3d.segmenters.graphcut.clicks import discs, spread_clicks, stamp_clicks
from sa3d.segmenters.graphcut.cut import (
    BACKGROUND,
    MAYBE_BACKGROUND,
    MAYBE_OBJECT,
    OBJECT,
    ColorModels,
    color_evidence,
    grab_cut,
    main_colors,
    models_of_samples,
    nearby_evidence,
    soft_cuts,
)
from sa3d.segmenters.graphcut.masks import signed_distance
from sa3d.segmenters.graphcut.roi import Roi, fitted
from sa3d.segmenters.graphcut.superpixels import Superpixels

ITERATIONS = 2
"""Number of times that GrabCut learns the colors and cuts; more is not better."""

LEARNING_SIDE_PX = 192
"""Longer side of the image for learning the colors; more is not better."""

PRIOR = 2.5
"""Evidence (nats) of a pixel that lies deep in the mask."""

PRIOR_DEPTH = 0.05
"""Depth in the mask that counts as deep, as a share of its size."""

NEARBY = 0.5
"""Weight of the colors nearby in the evidence."""

NEARBY_REACH = 0.12
"""Half side of the window of the colors nearby, as a share of the mask's size."""

UNDECIDED_PRIOR = -0.5
"""Evidence (nats) where the mask is undecided: slightly against the object."""

ELSEWHERE = 0.6
"""Share of the colors of other views, if there are any, in the evidence of color."""

CLEAR_EVIDENCE = 1.0
"""Evidence (nats) from which colors of other views label uncertain pixels at the start."""

CLICK_SUPERPIXELS = 700
"""Number of superpixels over which a correction spreads."""

FREED_DISC = 0.22
"""Radius of the disc freed by a point that contradicts the mask, as a share of the mask's size."""

FREED_REACH = 0.35
"""Distance over which such a point spreads, as a share of the mask's size."""


@dataclass(frozen=True)
class Band:
    """The band along a mask's border that is uncertain, as shares of its size ``sqrt(area)``.

    Attributes:
        core: pixels deeper inside than this are certainly object.
        reach: pixels further outside than this are certainly background.
    """

    core: float
    reach: float


NORMAL = Band(0.05, 0.10)
"""Band for learning the colors."""

LOOSE = Band(0.08, 0.14)
"""Band for the cut."""

GROWN = Band(0.12, 0.20)
"""Band of regions grown from points."""

UNDECIDED = 0.2
"""A soft mask is undecided where its value is nearer to 0.5 than this."""

UNDECIDED_OPENING = 0.03
"""Smallest half width of undecided areas, as a share of the mask's size."""

UNDECIDED_REACH = 0.5
"""Distance from the mask up to which undecided areas count, as a share of its size."""

BLUR = 0.02
"""Standard deviation of the blur that smooths a mask's border, as a share of its size."""


def mask_trimap(distance: np.ndarray, size: float, band: Band) -> np.ndarray:
    """Return the trimap of an earlier mask: certain inside and outside, uncertain in a band.

    Args:
        distance: [h, w] signed distance to the mask's border, pixels, positive inside.
        size: sqrt of the mask's area, pixels.
        band: the uncertain band.

    Returns:
        [h, w] uint8 labels.
    """
    trimap = np.where(distance > 0, MAYBE_OBJECT, MAYBE_BACKGROUND).astype(np.uint8)
    trimap[distance > band.core * size] = OBJECT
    trimap[distance < -max(2.0, band.reach * size)] = BACKGROUND
    return trimap


def smoothed_distance(soft_mask: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the signed distance [h, w] to the border of a soft mask, and its size, in pixels.

    The mask is blurred first, since the border of a rendered mask is rough.
    """
    import cv2

    size = float(np.sqrt(max((soft_mask > 0.5).sum(), 1)))
    blurred = cv2.GaussianBlur(soft_mask.astype(np.float32), (0, 0), max(BLUR * size, 0.3))
    smooth = blurred > 0.5
    return signed_distance(smooth if smooth.any() else soft_mask > 0.5), size


def undecided_area(soft_mask: np.ndarray, distance: np.ndarray, size: float) -> np.ndarray:
    """Return where a soft mask is undecided, near the object but outside it: [h, w] bool.

    Values near 0.5 in an area, not along a border, mean that no other view has seen this part.

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
    """Return the relative depth of pixels in a mask, from -1 (far outside) to 1: [h, w] float32.

    The middle of a part thinner than ``depth`` counts as deep too, so that thin parts have as much
    evidence as thick ones.

    Args:
        distance: [h, w] signed distance to the mask's border, pixels.
        depth: depth that counts as deep, pixels.
    """
    import cv2

    side = 2 * max(1, round(depth)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    half_width = np.clip(cv2.dilate(distance, kernel), 1.0, depth)
    return np.tanh(distance / np.where(distance > 0, half_width, depth)).astype(np.float32)


@dataclass(frozen=True)
class Corrections:
    """Points that correct a mask, [N, 2] (x, y) in region pixels.

    Attributes:
        positive, negative: points on and beside the object.
        wrong: the points of both kinds that the mask contradicts.
    """

    positive: np.ndarray
    negative: np.ndarray
    wrong: np.ndarray

    @classmethod
    def of(cls, soft: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> Corrections:
        """Compare points with a soft mask [h, w]."""
        missed, covered = positive[~_inside(soft, positive)], negative[_inside(soft, negative)]
        return cls(positive, negative, np.concatenate([missed, covered]))


def refine(
    rgb: np.ndarray,
    lab: np.ndarray,
    soft: np.ndarray,
    clicks: Corrections,
    appearance: np.ndarray | None,
    *,
    multimask: bool,
) -> list[np.ndarray]:
    """Refine a soft mask to the object's edges in the image.

    GrabCut learns the colors from the certain parts of the mask. Then the evidence of every pixel
    (its color, the colors nearby, its depth in the mask) is cut at one or three levels.

    Args:
        rgb: [h, w, 3] uint8.
        lab: [h, w, 3] float32, the same image.
        soft: [h, w] in [0, 1], the earlier mask.
        clicks: points that correct the earlier mask.
        appearance: [2, M, 3] uint8, colors of object and background in other views, or None.
        multimask: return three nested candidates by growing area instead of one.

    Returns:
        Masks [h, w] bool.
    """
    distance, size = smoothed_distance(soft)
    superpixels = Superpixels.of(rgb, CLICK_SUPERPIXELS) if len(clicks.wrong) else None
    trimap = mask_trimap(distance, size, NORMAL)
    undecided = undecided_area(soft, distance, size)
    _correct(trimap, superpixels, clicks, size)
    mask, models = _learn_colors(_without(rgb, undecided, trimap), trimap, appearance)
    color = color_evidence(rgb, models)
    if appearance is not None:
        elsewhere = color_evidence(rgb, models_of_samples(appearance))
        color = (1 - ELSEWHERE) * color + ELSEWHERE * elsewhere
    depth = relative_depth(distance, PRIOR_DEPTH * size)
    evidence = (
        color
        + NEARBY * nearby_evidence(lab, mask, ~undecided, max(3, round(NEARBY_REACH * size)))
        + np.where(undecided, UNDECIDED_PRIOR, PRIOR * depth)
    )
    certain = mask_trimap(distance, size, LOOSE)
    certain[undecided & (certain == BACKGROUND)] = MAYBE_BACKGROUND
    _correct(certain, superpixels, clicks, size)
    return soft_cuts(main_colors(lab), evidence, certain, multimask=multimask)


def _without(rgb: np.ndarray, undecided: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """Return the image with undecided pixels painted in colors of certain background.

    Otherwise GrabCut would learn colors of the background from parts of the object that no other
    view has seen.
    """
    background = np.flatnonzero((trimap == BACKGROUND) & ~undecided)
    count = int(undecided.sum())
    if not count or not len(background):
        return rgb
    painted = rgb.copy()
    source = background[np.linspace(0, len(background) - 1, count).astype(int)]
    painted[undecided] = rgb.reshape(-1, 3)[source]
    return painted


def _learn_colors(
    rgb: np.ndarray, trimap: np.ndarray, appearance: np.ndarray | None
) -> tuple[np.ndarray, ColorModels]:
    """Run GrabCut at low resolution; return a first mask [h, w] bool and the color models."""
    height, width = trimap.shape
    region = Roi(0, 0, width, height, *fitted(width, height, LEARNING_SIDE_PX))
    small = trimap[region.nearest_rows][:, region.nearest_columns]
    colors = region.crop(rgb)
    if appearance is not None:
        known = color_evidence(colors, models_of_samples(appearance))
        uncertain = small >= MAYBE_BACKGROUND
        small[uncertain & (known > CLEAR_EVIDENCE)] = MAYBE_OBJECT
        small[uncertain & (known < -CLEAR_EVIDENCE)] = MAYBE_BACKGROUND
    mask, models = grab_cut(colors, small, ITERATIONS, appearance)
    return region.paste(mask, trimap.shape), models


def _correct(
    trimap: np.ndarray, superpixels: Superpixels | None, clicks: Corrections, size: float
) -> None:
    """Write correcting points into a trimap [h, w], in place."""
    if superpixels is not None:
        freed = discs(trimap.shape, clicks.wrong, FREED_DISC * size)
        trimap[freed] = MAYBE_OBJECT
        near = discs(trimap.shape, clicks.wrong, FREED_REACH * size)
        spread_clicks(trimap, superpixels, clicks.positive, clicks.negative, near)
    stamp_clicks(trimap, clicks.positive, clicks.negative)


def _inside(soft: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return whether points [N, 2] lie in the soft mask: [N] bool."""
    height, width = soft.shape
    index = np.rint(points).astype(int)
    return soft[np.clip(index[:, 1], 0, height - 1), np.clip(index[:, 0], 0, width - 1)] > 0.5
