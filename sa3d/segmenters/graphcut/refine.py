"""Refining an earlier mask: the step that is repeated in every view of a scene."""

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

ITERATIONS, LEARNING_SIDE_PX = 2, 192
"""Rounds of learning the colors, and at which resolution: more costs time and gains nothing."""

PRIOR, PRIOR_DEPTH = 2.5, 0.05
"""Evidence (nats) of lying deep in the mask, and how deep that is (share of its size)."""

NEARBY, NEARBY_REACH = 0.5, 0.12
"""Weight of the colors nearby, and the half side of their window (share of the size)."""

UNDECIDED_PRIOR = -0.5
"""Evidence (nats) where the mask does not know: a little against the object."""

ELSEWHERE = 0.6
"""Share of the colors of other views, where they are given, in the evidence of color."""

CLEAR_EVIDENCE = 1.0
"""Where the mask is uncertain, colors of other views decide the start from here (nats)."""

CLICK_SUPERPIXELS = 700
"""Superpixels over which a correction spreads."""

FREED_DISC, FREED_REACH = 0.22, 0.35
"""A click that contradicts the mask frees a disc, and spreads this far (shares of the size)."""


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


def undecided_area(soft_mask: np.ndarray, distance: np.ndarray, size: float) -> np.ndarray:
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


@dataclass(frozen=True)
class Corrections:
    """Clicks [N, 2] (x, y) in region pixels; the wrong ones contradict the mask."""

    positive: np.ndarray
    negative: np.ndarray
    wrong: np.ndarray

    @classmethod
    def of(cls, soft: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> Corrections:
        """Compare clicks with a soft mask [h, w]."""
        missed, taken = positive[~_inside(soft, positive)], negative[_inside(soft, negative)]
        return cls(positive, negative, np.concatenate([missed, taken]))


def refine(
    rgb: np.ndarray,
    lab: np.ndarray,
    soft: np.ndarray,
    clicks: Corrections,
    appearance: np.ndarray | None,
    *,
    multimask: bool,
) -> list[np.ndarray]:
    """The object near a soft mask, as the picture has it.

    Colors are learnt from the mask's certain parts, in a GrabCut. Then every pixel's evidence
    (its color, colors nearby, its depth in the mask) is cut at one or three levels.

    Args:
        rgb: [h, w, 3] uint8.
        lab: [h, w, 3] float32, the same picture.
        soft: [h, w] in [0, 1], the earlier mask.
        clicks: corrections of it.
        appearance: [2, M, 3] uint8 colors of object and background elsewhere, or None.
        multimask: three nested candidates by growing area instead of one.

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
    """The picture with undecided pixels painted in colors of certain background.

    Else the object's own unseen parts would teach the background's colors.
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
    """GrabCut at low resolution: a first mask [h, w] bool, and the color models."""
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
    """Write clicks into a trimap [h, w], in place."""
    if superpixels is not None:
        freed = discs(trimap.shape, clicks.wrong, FREED_DISC * size)
        trimap[freed] = MAYBE_OBJECT
        near = discs(trimap.shape, clicks.wrong, FREED_REACH * size)
        spread_clicks(trimap, superpixels, clicks.positive, clicks.negative, near)
    stamp_clicks(trimap, clicks.positive, clicks.negative)


def _inside(soft: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether points [N, 2] lie in the soft mask: [N] bool."""
    height, width = soft.shape
    index = np.rint(points).astype(int)
    return soft[np.clip(index[:, 1], 0, height - 1), np.clip(index[:, 0], 0, width - 1)] > 0.5
