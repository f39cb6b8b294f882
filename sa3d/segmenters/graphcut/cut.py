"""One graph cut: trimap in, mask out. A thin layer over OpenCV's GrabCut (Rother et al. 2004)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BACKGROUND, OBJECT, MAYBE_BACKGROUND, MAYBE_OBJECT = 0, 1, 2, 3
"""Trimap labels, with OpenCV's values: the first two are certain."""

NO_RECTANGLE = (0, 0, 1, 1)
"""GrabCut ignores the rectangle when it starts from labels, but wants one."""

MODEL_SIZE = 65
"""Length of a color model in OpenCV: 5 Gaussians of 13 numbers."""

SEED = 0
"""GrabCut initialises k-means from OpenCV's global generator: without a seed results wobble."""


APPEARANCE_SHARE = 0.5
"""Colors of other views count at most this much of the object's pixels in the picture."""


@dataclass
class ColorModels:
    """Color mixtures of background and object in OpenCV's layout, [1, 65] float64 each."""

    background: np.ndarray
    object: np.ndarray

    @classmethod
    def empty(cls) -> ColorModels:
        """Models that know nothing yet."""
        return cls(np.zeros((1, MODEL_SIZE)), np.zeros((1, MODEL_SIZE)))


def is_solvable(trimap: np.ndarray) -> bool:
    """Whether a trimap holds pixels of both classes (GrabCut raises otherwise)."""
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
        iterations: how often to learn and cut.
        appearance: [2, M, 3] uint8, further colors of object and background, or None.

    Returns:
        Mask [h, w] bool, and the learnt color models.
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
    if appearance is not None:  # The appended rows touch the picture's last one: cut without them.
        return cut_again(colors, trimap, models), models
    return (labels & 1).astype(bool), models


def models_of_samples(appearance: np.ndarray) -> ColorModels:
    """Color models of samples [2, M, 3] uint8 alone, object first."""
    side = max(4, int(np.sqrt(appearance.shape[1])))
    rows = [_rows_of(appearance[1], side), _rows_of(appearance[0], side)]
    labels = np.full((2 * rows[0].shape[0], side), BACKGROUND, np.uint8)
    labels[rows[0].shape[0] :] = OBJECT
    return grab_cut(np.concatenate(rows), labels, 1)[1]


def cut_again(colors: np.ndarray, trimap: np.ndarray, models: ColorModels) -> np.ndarray:
    """Cut once under other labels with color models that were learnt before: [h, w] bool."""
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
    """Append rows that hold the colors, labelled for certain, so the mixtures learn them too.

    They are at most APPEARANCE_SHARE of what the picture itself shows of the object.
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
    """Samples [M, 3] as full rows [rows, width, 3], dark to light, some of them repeated."""
    ordered = samples[np.argsort(samples.sum(1, dtype=np.int32), kind="stable")]
    rows = -(-len(ordered) // width)
    filled = ordered[np.linspace(0, len(ordered) - 1, rows * width).astype(int)]
    return filled.reshape(rows, width, 3)
