"""All masks of one image from a promptable segmenter: a grid of clicks, filters, no doubles.

As SAM's automatic mask generator (Kirillov et al. 2023, appendix B), for any segmenter behind the
protocol. A click's best answers are prompted once more with their own box and mask before they are
judged: a segmenter that is weak with a click may be strong with those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sa3d.base.mask_overlap import iou
from sa3d.segmenters.config import MaskGeneratorConfig
from sa3d.segmenters.protocol import MaskPrediction, PromptableSegmenter


@dataclass(frozen=True)
class GeneratedMask:
    """One mask [H, W] bool of the current image, and how sure the segmenter is of it.

    ``predicted_iou`` and ``stability`` are in [0, 1]; ``point`` is the click (x, y) in pixels.
    """

    mask: np.ndarray
    predicted_iou: float
    stability: float
    point: tuple[float, float]

    @property
    def quality(self) -> float:
        """By which masks are preferred: predicted IoU times stability."""
        return self.predicted_iou * self.stability


def grid_points(width: int, height: int, per_side: int) -> np.ndarray:
    """Pixel indices (x, y), [per_side ** 2, 2], at the middles of a regular grid's cells."""
    steps = (np.arange(per_side) + 0.5) / per_side
    x, y = np.meshgrid(np.floor(steps * width), np.floor(steps * height))
    return np.stack([x.reshape(-1), y.reshape(-1)], axis=-1).astype(np.float32)


def stability(logits: np.ndarray, offset: float) -> float:
    """IoU of a mask's cuts at ``+offset`` and ``-offset``: ``|l > +o| / |l > -o|``; 0 if empty.

    Args:
        logits: [h, w], positive is object.
    """
    wide = int((logits > -offset).sum())
    return int((logits > offset).sum()) / wide if wide else 0.0


def generate_masks(
    segmenter: PromptableSegmenter,
    size: tuple[int, int],
    config: MaskGeneratorConfig,
    points: np.ndarray | None = None,
) -> list[GeneratedMask]:
    """Masks of the segmenter's current image, best first, no two of them alike.

    Args:
        size: (width, height) of the image.
        points: clicks [N, 2] (x, y) instead of the grid. A click on a mask already found is not
            made.
    """
    if points is None:
        points = grid_points(*size, config.points_per_side)
    found: list[GeneratedMask] = []
    for x, y in points:
        if any(one.mask[int(y), int(x)] for one in found):
            continue
        found += _answers(segmenter, (float(x), float(y)), config)
    return suppress_duplicates(found, config.max_overlap)


def suppress_duplicates(masks: Sequence[GeneratedMask], max_overlap: float) -> list[GeneratedMask]:
    """Non-maximum suppression: best first, each unless it is too like one before (IoU)."""
    kept: list[GeneratedMask] = []
    for one in sorted(masks, key=lambda m: -m.quality):
        if all(iou(one.mask, other.mask) <= max_overlap for other in kept):
            kept.append(one)
    return kept


def _answers(
    segmenter: PromptableSegmenter, point: tuple[float, float], config: MaskGeneratorConfig
) -> Iterator[GeneratedMask]:
    """What a click gives and the filters pass."""
    coords, labels = np.array([point], dtype=np.float32), np.array([1])
    prediction = segmenter.predict(coords, labels, multimask_output=True)
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
    """A candidate after prompting with its own box and mask; the first answer if that is empty."""
    for _ in range(config.refinements):
        mask = prediction.masks[candidate]
        if not config.min_area <= float(mask.mean()) <= config.max_area:
            break
        y, x = np.nonzero(mask)
        box = np.array([x.min(), y.min(), x.max(), y.max()], dtype=np.float32)
        again = segmenter.predict(*click, box, prediction.logits[candidate])
        if not again.masks[0].any():
            break
        prediction, candidate = again, 0
    return GeneratedMask(
        mask=prediction.masks[candidate],
        predicted_iou=float(prediction.scores[candidate]),
        stability=stability(prediction.logits[candidate], config.stability_offset),
        point=(float(click[0][0, 0]), float(click[0][0, 1])),
    )
