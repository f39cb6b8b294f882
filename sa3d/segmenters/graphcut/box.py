"""Cuts the object in a box out, as nested masks by growing area.

GrabCut learns its colors from a first guess. A pixel in the box is more likely object if its color
is rare outside the box, if no path without edges leads to it from outside, and if it lies near the
middle of the box.
"""

from __future__ import annotations

import numpy as np

from sa3d.segmenters.graphcut.clicks import spread_clicks, stamp_clicks
from sa3d.segmenters.graphcut.cut import (
    BACKGROUND,
    MAYBE_BACKGROUND,
    MAYBE_OBJECT,
    OBJECT,
    color_evidence,
    grab_cut,
    main_colors,
    soft_cuts,
)
from sa3d.segmenters.graphcut.roi import Roi, fitted
from sa3d.segmenters.graphcut.superpixels import Superpixels

GUESS_SIDE_PX = 160
"""Longer side of the image for the first guess; other sizes are no better."""

GUESS_SUPERPIXELS = 400
"""Number of superpixels for the first guess; other numbers are no better."""

COLOR = 1.2
"""Weight of the color ratio in the guess, by logistic regression on half of GrabCut's photos."""

GEODESIC = 0.7
"""Weight of the geodesic distance in the guess, by the regression of ``COLOR``."""

GUESS_BIAS = -2.2
"""Constant term of the guess (nats), by the regression of ``COLOR``."""

MIDDLE = 3.5
"""Evidence (nats) lost per squared radius; radius 1 is the ellipse inscribed in the box."""

MIDDLE_RADIUS = 0.9
"""Squared radius at which the evidence of lying in the middle is 0."""

GUESS_LIMIT = 4.0
"""Largest evidence of color in the guess (nats)."""

GUESS_SHARE = 0.2
"""Weight of the guess beside the learnt colors."""

DOUBT = 0.7
"""Evidence (nats) against every pixel: pixels without evidence are mostly background."""

BIN_LAB = 6.0
"""Width of the bins of the color histogram, in units of Lab."""

RARE = 2e-4
"""Density of a color that counts as never seen."""

LIGHTNESS = 0.7
"""Weight of lightness in the histogram, which shadows change."""

ITERATIONS = 3
"""Number of times that GrabCut learns the colors and cuts."""


def cut_box(
    rgb: np.ndarray,
    lab: np.ndarray,
    box: np.ndarray,
    clicks: tuple[Superpixels, np.ndarray, np.ndarray] | None,
    appearance: np.ndarray | None,
) -> list[np.ndarray]:
    """Cut the object in a box out, as three nested masks by growing area.

    Args:
        rgb, lab: [h, w, 3] uint8 and float32, the same image.
        box: [4] x0, y0, x1, y1 in pixels, last included.
        clicks: superpixels, positive and negative points [N, 2] (x, y), or None.
        appearance: [2, M, 3] uint8, colors of object and background in other views, or None.

    Returns:
        Masks [h, w] bool.
    """
    inside = in_box((rgb.shape[0], rgb.shape[1]), box)
    guess = first_guess(rgb, box)
    allowed = np.where(inside, MAYBE_BACKGROUND, BACKGROUND).astype(np.uint8)
    trimap = np.where(inside & (guess > 0), MAYBE_OBJECT, allowed).astype(np.uint8)
    if not (trimap == MAYBE_OBJECT).any():
        # No pixel is likely object: learn the object's colors from the better half of the box.
        trimap[inside & (guess >= np.median(guess[inside]))] = MAYBE_OBJECT
    if clicks is not None:
        for labels in (trimap, allowed):
            spread_clicks(labels, *clicks)
            stamp_clicks(labels, *clicks[1:])
    models = grab_cut(rgb, trimap, ITERATIONS, appearance)[1]
    if not models.object.any():  # only one class: the box fills the image, or has one pixel
        whole = (trimap == MAYBE_OBJECT) | (trimap == OBJECT)
        return [whole] * 3
    evidence = color_evidence(rgb, models) + GUESS_SHARE * guess - DOUBT
    return soft_cuts(main_colors(lab), evidence, allowed, multimask=True)


def first_guess(rgb: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the evidence (nats) that pixels are the object in a box: [h, w] float32.

    Args:
        rgb: [h, w, 3] uint8.
        box: [4] x0, y0, x1, y1 in pixels, last included.
    """
    import cv2

    height, width = rgb.shape[:2]
    region = Roi(0, 0, width, height, *fitted(width, height, GUESS_SIDE_PX))
    small, corners = region.crop(rgb), region.points(box.reshape(2, 2)).reshape(4)
    inside = in_box((region.height, region.width), corners)
    y, x = np.mgrid[: region.height, : region.width]
    x0, y0, x1, y1 = corners
    radius = np.minimum(
        ((2 * x - x0 - x1) / max(x1 - x0, 2)) ** 2 + ((2 * y - y0 - y1) / max(y1 - y0, 2)) ** 2, 2
    )
    color = np.zeros(inside.shape)
    if not inside.all():
        lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        middle = inside * np.clip(1.3 - radius, 0.05, 1)
        color = (
            COLOR * _color_ratio(lab, middle, ~inside)
            + GEODESIC * _distance_from_outside(small, inside)
            + GUESS_BIAS
        )
    guess = np.clip(color, -GUESS_LIMIT, GUESS_LIMIT) + MIDDLE * (MIDDLE_RADIUS - radius)
    return cv2.resize(guess.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)


def in_box(shape: tuple[int, int], box: np.ndarray) -> np.ndarray:
    """Return the pixels [h, w] bool of a box [4], clipped to the image; at least one."""
    height, width = shape
    x0, y0 = np.floor(np.clip(box[:2], 0, (width - 1, height - 1))).astype(int)
    x1, y1 = np.ceil(np.clip(box[2:], (x0, y0), (width - 1, height - 1))).astype(int)
    inside = np.zeros(shape, bool)
    inside[y0 : y1 + 1, x0 : x1 + 1] = True
    return inside


def _color_ratio(lab: np.ndarray, weight: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Return the log ratio [h, w] of each color's density under ``weight`` to that outside."""
    from scipy.ndimage import gaussian_filter

    bins = (lab * np.array([LIGHTNESS, 1, 1]) / BIN_LAB).round().astype(int)
    bins -= bins.min((0, 1))
    shape = tuple(bins.max((0, 1)) + 1)
    code = np.ravel_multi_index(tuple(np.moveaxis(bins, -1, 0)), shape)

    def density(of: np.ndarray) -> np.ndarray:
        counts = np.bincount(code.ravel(), of.ravel(), int(np.prod(shape))).reshape(shape)
        return gaussian_filter(counts, 1.0, mode="constant").ravel() / max(float(of.sum()), 1e-6)

    return np.log((density(weight) + RARE) / (density(outside.astype(float)) + RARE))[code]


def _distance_from_outside(rgb: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return ``log(1 + d)``, d the geodesic distance of pixels from outside the box: [h, w]."""
    superpixels = Superpixels.of(rgb, GUESS_SUPERPIXELS)
    flat = superpixels.labels.ravel()
    share = np.bincount(flat, (~inside).ravel(), len(superpixels.areas)) / superpixels.areas
    seeds = np.flatnonzero(share >= min(0.5, float(share.max())))
    return np.log1p(superpixels.geodesic(seeds))[superpixels.labels]
