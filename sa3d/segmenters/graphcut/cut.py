"""Minimum cuts with OpenCV's GrabCut (Rother et al. 2004), and the color evidence they use.

``grab_cut`` learns color mixtures and cuts. ``soft_cut`` cuts by evidence of any kind: GrabCut's
solver is fast but takes its evidence from color mixtures only. So the evidence is written into one
channel of the image, and the mixtures are two Gaussians whose log ratio is linear in that channel.
The other two channels hold the image's two main color axes, for the smoothness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BACKGROUND, OBJECT, MAYBE_BACKGROUND, MAYBE_OBJECT = 0, 1, 2, 3
"""Labels of a trimap, with OpenCV's values; the first two are certain."""

NO_RECTANGLE = (0, 0, 1, 1)
"""A rectangle, which GrabCut requires and ignores when it starts from labels."""

MODEL_SIZE = 65
"""Length of a color model in OpenCV: 5 Gaussians with 13 numbers each."""

SEED = 0
"""Seed of OpenCV's global generator, from which GrabCut initialises k-means."""

APPEARANCE_SHARE = 0.5
"""Largest number of colors of other views, as a share of the object's pixels in the image."""

LEVELS = 48
"""Steps of the evidence channel; they are small beside color edges."""

EVIDENCE_LIMIT = 6.0
"""Largest evidence (nats); more is clipped."""

GAIN = 4.0
"""Weight of the evidence; GrabCut's own is 1, which loses thin parts."""

COLOR_CONTRAST = 3.8
"""8-bit steps per unit of Lab in the color channels; most images stay within +-127."""

FLAT_VARIANCE = 1e6
"""Variance of the color channels in the two Gaussians: so large that they are ignored."""

CANDIDATE_OFFSET = 1.0
"""Evidence (nats) subtracted from all pixels for the tight candidate, added for the loose one."""

COMPONENTS = 5
"""Number of Gaussians in a mixture of OpenCV."""

COLOR_LIMIT = 6.0
"""Largest evidence (nats) of a color in the mixtures."""

NEARBY_LIMIT = 3.0
"""Largest evidence (nats) of a color in comparison with the colors nearby."""

MIN_VARIANCE = 9.0
"""Variance (Lab) added to that of the colors nearby: 3 units, about the noise of a photo."""

SAMPLES = 256
"""Number of colors sampled of the object and of its surroundings; more samples hardly help."""

SURROUNDINGS = 0.35
"""Width of the ring around the mask that is sampled, as a share of the mask's size."""

SKIPPED_PX = 2
"""Width beside the mask's border that is not sampled, as colors are mixed there."""


@dataclass
class ColorModels:
    """Color mixtures of background and object in OpenCV's layout, [1, 65] float64 each."""

    background: np.ndarray
    object: np.ndarray

    @classmethod
    def empty(cls) -> ColorModels:
        """Return models that have learnt nothing yet."""
        return cls(np.zeros((1, MODEL_SIZE)), np.zeros((1, MODEL_SIZE)))


def is_solvable(trimap: np.ndarray) -> bool:
    """Return whether a trimap holds pixels of both classes; otherwise GrabCut raises."""
    inside = (trimap == OBJECT) | (trimap == MAYBE_OBJECT)
    return bool(inside.any() and not inside.all())


def grab_cut(
    colors: np.ndarray,
    trimap: np.ndarray,
    iterations: int,
    appearance: np.ndarray | None = None,
) -> tuple[np.ndarray, ColorModels]:
    """Learn both color models and cut, ``iterations`` times.

    Args:
        colors: [h, w, 3] uint8.
        trimap: [h, w] uint8 labels.
        iterations: number of times to learn and cut.
        appearance: [2, M, 3] uint8, colors of object and background in other views, or None.

    Returns:
        The mask [h, w] bool, and the learnt color models.
    """
    import cv2

    models = ColorModels.empty()
    if not is_solvable(trimap):
        return (trimap == OBJECT) | (trimap == MAYBE_OBJECT), models
    learnt_from, labels = colors, trimap.copy()
    if appearance is not None:
        learnt_from, labels = _with_appearance_rows(colors, labels, appearance)
    cv2.setRNGSeed(SEED)
    cv2.grabCut(
        learnt_from,
        labels,
        NO_RECTANGLE,
        models.background,
        models.object,
        iterations,
        cv2.GC_INIT_WITH_MASK,
    )
    if appearance is not None:  # the added rows touch the image's last row: cut without them
        return cut_again(colors, trimap, models), models
    return (labels & 1).astype(bool), models


def models_of_samples(appearance: np.ndarray) -> ColorModels:
    """Learn color models from samples [2, M, 3] uint8 alone, object first."""
    side = max(4, int(np.sqrt(appearance.shape[1])))
    rows = [_rows_of(appearance[1], side), _rows_of(appearance[0], side)]
    labels = np.full((2 * rows[0].shape[0], side), BACKGROUND, np.uint8)
    labels[rows[0].shape[0] :] = OBJECT
    return grab_cut(np.concatenate(rows), labels, 1)[1]


def cut_again(colors: np.ndarray, trimap: np.ndarray, models: ColorModels) -> np.ndarray:
    """Cut once under other labels, with color models that were learnt before: [h, w] bool."""
    import cv2

    labels = trimap.copy()
    if not is_solvable(labels):
        return (labels & 1).astype(bool)
    cv2.setRNGSeed(SEED)
    cv2.grabCut(
        colors,
        labels,
        NO_RECTANGLE,
        models.background.copy(),
        models.object.copy(),
        1,
        cv2.GC_EVAL_FREEZE_MODEL,
    )
    return (labels & 1).astype(bool)


def _with_appearance_rows(
    colors: np.ndarray, labels: np.ndarray, appearance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Append rows of colors with certain labels to an image, so that the mixtures learn them too.

    The number of colors is at most APPEARANCE_SHARE of the object's pixels in the image.
    """
    width = labels.shape[1]
    shown = int((labels & 1).sum())
    count = min(appearance.shape[1], max(width, round(APPEARANCE_SHARE * shown)))
    chosen = appearance[:, np.linspace(0, appearance.shape[1] - 1, count).astype(int)]
    known_background, known_object = _rows_of(chosen[1], width), _rows_of(chosen[0], width)
    added = [
        np.full(known_background.shape[:2], BACKGROUND, np.uint8),
        np.full(known_object.shape[:2], OBJECT, np.uint8),
    ]
    return (
        np.concatenate([colors, known_background, known_object]),
        np.concatenate([labels, *added]),
    )


def _rows_of(samples: np.ndarray, width: int) -> np.ndarray:
    """Arrange samples [M, 3], dark to light, in full rows [rows, width, 3]; some are repeated."""
    ordered = samples[np.argsort(samples.sum(1, dtype=np.int32), kind="stable")]
    rows = -(-len(ordered) // width)
    filled = ordered[np.linspace(0, len(ordered) - 1, rows * width).astype(int)]
    return filled.reshape(rows, width, 3)


def main_colors(lab: np.ndarray) -> np.ndarray:
    """Project colors [h, w, 3] Lab onto their two principal axes: [h, w, 2] uint8."""
    flat = lab.reshape(-1, 3)
    centred = flat - flat.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    projected = centred @ axes[:, [2, 1]].astype(np.float32)
    # The sign of an eigenvector is arbitrary; only differences of colors are used.
    steps = np.clip(np.rint(projected * COLOR_CONTRAST + 128), 0, 255)
    return steps.astype(np.uint8).reshape(*lab.shape[:2], 2)


def soft_cuts(
    colors: np.ndarray, evidence: np.ndarray, trimap: np.ndarray, *, multimask: bool
) -> list[np.ndarray]:
    """Return the minimum cut, or with ``multimask`` a tight, the normal and a loose one.

    Minimum cuts grow with the evidence, so the three masks are nested. The arguments are those of
    ``soft_cut``.
    """
    normal = soft_cut(colors, evidence, trimap)
    if not multimask:
        return [normal]
    within = np.where(normal, trimap, BACKGROUND).astype(np.uint8)
    beyond = np.where(normal, OBJECT, trimap).astype(np.uint8)
    tight = soft_cut(colors, evidence - CANDIDATE_OFFSET, within)
    return [tight, normal, soft_cut(colors, evidence + CANDIDATE_OFFSET, beyond)]


def soft_cut(colors: np.ndarray, evidence: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """Return the minimum cut between object and background.

    Args:
        colors: [h, w, 2] uint8 of ``main_colors``.
        evidence: [h, w] float32, nats, positive for the object.
        trimap: [h, w] uint8; its certain labels are kept.

    Returns:
        Mask [h, w] bool.
    """
    import cv2

    maybe = (evidence > 0).astype(np.uint8) + 2
    labels = np.where(trimap < 2, trimap, maybe).astype(np.uint8)
    if not is_solvable(labels):
        return (labels & 1).astype(bool)
    level = np.clip((evidence / EVIDENCE_LIMIT + 1) * (LEVELS / 2), 0, LEVELS)
    channels = np.dstack([np.rint(level).astype(np.uint8), colors])
    models = _evidence_models()
    cv2.grabCut(
        channels,
        labels,
        NO_RECTANGLE,
        models.background,
        models.object,
        1,
        cv2.GC_EVAL_FREEZE_MODEL,
    )
    return (labels & 1).astype(bool)


def _evidence_models() -> ColorModels:
    """Return Gaussians at both ends of the evidence channel, with log ratio GAIN * evidence."""
    variance = LEVELS**2 / (2 * GAIN * EVIDENCE_LIMIT)
    models = ColorModels.empty()
    for model, mean in ((models.background, 0), (models.object, LEVELS)):
        model[0, 0] = 1
        model[0, 5:8] = (mean, 128, 128)
        model[0, 20:29] = np.diag([variance, FLAT_VARIANCE, FLAT_VARIANCE]).ravel()
    return models


def color_evidence(rgb: np.ndarray, models: ColorModels) -> np.ndarray:
    """Return ``log p(color | object) - log p(color | background)``, clipped: [h, w] float32."""
    flat = rgb.reshape(-1, 3).astype(np.float32)
    ratio = _log_likelihood(flat, models.object) - _log_likelihood(flat, models.background)
    return np.clip(ratio, -COLOR_LIMIT, COLOR_LIMIT).reshape(rgb.shape[:2])


def _log_likelihood(flat: np.ndarray, model: np.ndarray) -> np.ndarray:
    """Return the log density [N] of colors [N, 3] under a mixture of OpenCV, up to a constant."""
    numbers = model.ravel()
    total = np.full(len(flat), 1e-12, np.float32)
    for c in range(COMPONENTS):
        weight = numbers[c]
        if weight <= 0:
            continue
        mean = numbers[COMPONENTS + 3 * c :][:3]
        covariance = numbers[4 * COMPONENTS + 9 * c :][:9].reshape(3, 3) + 0.01 * np.eye(3)
        whiten = np.linalg.inv(np.linalg.cholesky(covariance)).T
        off = (flat - mean.astype(np.float32)) @ whiten.astype(np.float32)
        density = weight / np.sqrt(np.linalg.det(covariance))
        total += np.float32(density) * np.exp(-0.5 * np.einsum("ni,ni->n", off, off))
    return np.log(total)


def nearby_evidence(
    lab: np.ndarray, mask: np.ndarray, decided: np.ndarray, radius: int
) -> np.ndarray:
    """Return the evidence of each color in comparison with the colors in a window around it.

    Object and background have one Gaussian each in every window.

    Args:
        lab: [h, w, 3] float32.
        mask: [h, w] bool, the assumed object.
        decided: [h, w] bool, the pixels to learn from.
        radius: half the window's side, pixels.

    Returns:
        [h, w] float32, nats, clipped; 0 where the window lacks object or background.
    """
    inside, seen_inside = _window_misfit(lab, mask & decided, radius)
    outside, seen_outside = _window_misfit(lab, ~mask & decided, radius)
    ratio = np.clip(outside - inside, -NEARBY_LIMIT, NEARBY_LIMIT)
    return np.where(seen_inside & seen_outside, ratio, 0).astype(np.float32)


def _window_misfit(lab: np.ndarray, mask: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the negative log density [h, w] of each color among the mask's colors around it.

    Also return where the windows hold enough of the mask: [h, w] bool.
    """
    import cv2

    window = (2 * radius + 1, 2 * radius + 1)
    weight = mask.astype(np.float32)
    count = cv2.boxFilter(weight, -1, window, normalize=False)
    scale = 1 / np.maximum(count, 1)
    weighted = lab * weight[..., None]
    mean = cv2.boxFilter(weighted, -1, window, normalize=False) * scale[..., None]
    square = cv2.boxFilter(weighted * lab, -1, window, normalize=False) * scale[..., None]
    variance = np.maximum(square - mean * mean, 0) + np.float32(MIN_VARIANCE)
    misfit = 0.5 * ((lab - mean) ** 2 / variance + np.log(variance)).sum(-1)
    return misfit, count > 5


def sample_colors(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Sample the colors of an object and of its surroundings evenly over their pixels.

    Args:
        image: [H, W, 3] uint8.
        mask: [H, W] bool, not empty.

    Returns:
        [2, SAMPLES, 3] uint8, object first. If the mask fills the image, both samples are the
        object's colors, so they give no evidence.
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
    """Return the pixels within a distance of the mask; if negative, those deeper inside."""
    import cv2

    away = (~mask if pixels > 0 else mask).astype(np.uint8)
    distance = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_3)
    return distance <= pixels if pixels > 0 else distance > -pixels
