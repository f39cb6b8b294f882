"""Simulated user, who sets points where a mask is most wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sa3d.base.mask_overlap import iou
from sa3d.objects.prompts import Prompt
from sa3d.segmenters.protocol import PromptableSegmenter


def next_click(
    mask: np.ndarray, exact: np.ndarray, counted: np.ndarray | None = None
) -> tuple[tuple[float, float], int] | None:
    """Return the pixel deepest inside the largest error, and its right label.

    Args:
        mask: [H, W] bool.
        exact: [H, W] bool.
        counted: [H, W] bool, the pixels in which errors count; all by default.

    Returns:
        ((x, y), label), or None if there is no error.
    """
    from scipy.ndimage import distance_transform_edt

    deepest, click = 0.0, None
    for wrong, label in ((exact & ~mask, 1), (mask & ~exact, 0)):
        where = wrong if counted is None else wrong & counted
        depth = np.asarray(distance_transform_edt(np.pad(where, 1)))[1:-1, 1:-1]
        if depth.max() > deepest:
            deepest = float(depth.max())
            y, x = np.unravel_index(int(depth.argmax()), depth.shape)
            click = ((float(x), float(y)), label)
    return click


def box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Return the bounding box (x0, y0, x1, y1) of a mask [H, W] bool that is not empty."""
    y, x = np.nonzero(mask)
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def prompt_until_right(
    segmenter: PromptableSegmenter, exact: np.ndarray, start: Prompt, *, clicks: int, enough: float
) -> Prompt:
    """Add points to a prompt until the mask in its view is right; return the prompt.

    Args:
        segmenter: its current image is the prompted view.
        exact: [H, W] bool, the right mask.
        start: the prompt to begin with.
        clicks: largest number of points to add.
        enough: IoU at which to stop.
    """
    prompt = start
    for _ in range(clicks):
        prediction = segmenter.predict(
            np.array(prompt.points, dtype=np.float32) if prompt.points else None,
            np.array(prompt.labels, dtype=np.int64) if prompt.points else None,
            None if prompt.box is None else np.array(prompt.box, dtype=np.float32),
        )
        mask = prediction.masks[int(prediction.scores.argmax())]
        click = next_click(mask, exact)
        if click is None or iou(mask, exact) >= enough:
            break
        prompt = replace(
            prompt, points=(*prompt.points, click[0]), labels=(*prompt.labels, click[1])
        )
    return prompt
