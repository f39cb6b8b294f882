"""Generates the masks of all objects in an image, with any promptable segmenter.

As in SAM's automatic mask generator (Kirillov et al. 2023, appendix B), the image is prompted at a
grid of points, and the masks are filtered and suppressed. Before that, the masks of a point are
prompted once more with their own box and logits, since a segmenter that is weak with points may be
strong with a box and logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sa3d.base.mask_overlap import iou
from sa3d.segmenters.answer_check import ask
from sa3d.segmenters.config import MaskGeneratorConfig
from sa3d.segmenters.protocol import MaskPrediction, PromptableSegmenter


@dataclass(frozen=True)
class GeneratedMask:
    """A mask of the current image, with its quality.

    Attributes:
        mask: [H, W] bool.
        predicted_iou: the segmenter's own estimate, in [0, 1].
        stability: see ``stability``, in [0, 1].
        point: the prompted point (x, y), pixels.
    """

    mask: np.ndarray
    predicted_iou: float
    stability: float
    point: tuple[float, float]

    @property
    def quality(self) -> float:
        """Predicted IoU times stability; better masks have more."""
        return self.predicted_iou * self.stability


def grid_points(width: int, height: int, per_side: int) -> np.ndarray:
    """Return the pixel indices (x, y) of the centres of a regular grid: [per_side ** 2, 2]."""
    steps = (np.arange(per_side) + 0.5) / per_side
    x, y = np.meshgrid(np.floor(steps * width), np.floor(steps * height))
    return np.stack([x.reshape(-1), y.reshape(-1)], axis=-1).astype(np.float32)


def stability(logits: np.ndarray, offset: float) -> float:
    """Return the IoU of a mask thresholded at ``+offset`` and at ``-offset``; 0 if it is empty.

    Args:
        logits: [h, w], positive on the object.
        offset: in logits.
    """
    wide = int((logits > -offset).sum())
    return int((logits > offset).sum()) / wide if wide else 0.0


def generate_masks(
    segmenter: PromptableSegmenter,
    size: tuple[int, int],
    config: MaskGeneratorConfig,
    points: np.ndarray | None = None,
) -> list[GeneratedMask]:
    """Generate masks of the segmenter's current image.

    Points on a mask that was found before are skipped.

    Args:
        segmenter: with a current image.
        size: (width, height) of the image.
        config: which points are prompted and which masks are kept.
        points: [N, 2] (x, y) to prompt instead of the grid.

    Returns:
        Distinct masks, best first.

    Example:
        >>> segmenter.set_image(image)
        >>> masks = generate_masks(segmenter, (640, 480), MaskGeneratorConfig())
        >>> masks[0].mask.shape
        (480, 640)
    """
    if points is None:
        points = grid_points(*size, config.points_per_side)
    found: list[GeneratedMask] = []
    for x, y in points:
        if any(one.mask[int(y), int(x)] for one in found):
            continue
        found += _masks_at(segmenter, (float(x), float(y)), config)
    return suppress_duplicates(found, config.max_overlap)


def suppress_duplicates(masks: Sequence[GeneratedMask], max_overlap: float) -> list[GeneratedMask]:
    """Return the masks best first, without those whose IoU with a better one is too large."""
    kept: list[GeneratedMask] = []
    for one in sorted(masks, key=lambda m: -m.quality):
        if all(iou(one.mask, other.mask) <= max_overlap for other in kept):
            kept.append(one)
    return kept


def _masks_at(
    segmenter: PromptableSegmenter, point: tuple[float, float], config: MaskGeneratorConfig
) -> Iterator[GeneratedMask]:
    """Yield the masks of a point that pass the filters."""
    coords, labels = np.array([point], dtype=np.float32), np.array([1])
    prediction = ask(segmenter, coords, labels, multimask_output=True)
    for candidate in range(len(prediction.masks)):
        one = _refined(segmenter, prediction, candidate, (coords, labels), config)
        share = float(one.mask.mean())
        if (
            config.min_area <= share <= config.max_area
            and one.predicted_iou >= config.min_predicted_iou
            and one.stability >= config.min_stability
        ):
            yield one


def _refined(
    segmenter: PromptableSegmenter,
    prediction: MaskPrediction,
    candidate: int,
    click: tuple[np.ndarray, np.ndarray],
    config: MaskGeneratorConfig,
) -> GeneratedMask:
    """Prompt a candidate again with its own box and logits; keep it if the new mask is empty."""
    for _ in range(config.refinements):
        mask = prediction.masks[candidate]
        if not config.min_area <= float(mask.mean()) <= config.max_area:
            break
        y, x = np.nonzero(mask)
        box = np.array([x.min(), y.min(), x.max(), y.max()], dtype=np.float32)
        again = ask(segmenter, *click, box, prediction.logits[candidate])
        if not again.masks[0].any():
            break
        prediction, candidate = again, 0
    return GeneratedMask(
        mask=prediction.masks[candidate],
        predicted_iou=float(prediction.scores[candidate]),
        stability=stability(prediction.logits[candidate], config.stability_offset),
        point=(float(click[0][0, 0]), float(click[0][0, 1])),
    )
