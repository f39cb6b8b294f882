"""Cross-view self-prompting: a rendered mask becomes points, a box and a mask for the segmenter.

SA3D (Cen et al. 2023, sec. 3.3) takes the most certain pixel, lowers the confidence of the others
by their *3D* distance, and takes the next. Here, there are also negative points, a box and a
low-resolution mask, and the distance is metric: pixels are lifted with the field's depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa3d.segmenters.answer_check import ask
from sa3d.segmenters.protocol import LOGITS_SIZE, MaskPrediction, PromptableSegmenter
from sa3d.voting.config import SelfPromptConfig


@dataclass(frozen=True)
class SelfPrompt:
    """Prompts for the segmenter, in pixels of the view's *full-size* image.

    Attributes:
        point_coords: [P, 2] (x, y).
        point_labels: [P] 1 / 0.
        box: [4] x0, y0, x1, y1.
        mask_logits: [256, 256], the whole image stretched to the square.
    """

    point_coords: np.ndarray
    point_labels: np.ndarray
    box: np.ndarray
    mask_logits: np.ndarray

    def predict(self, segmenter: PromptableSegmenter) -> MaskPrediction:
        """Return the three candidates of a segmenter whose current image is the view.

        Raises:
            NoScoreError: see ``ask``.
        """
        pointed = len(self.point_coords) > 0
        return ask(
            segmenter,
            self.point_coords if pointed else None,
            self.point_labels if pointed else None,
            self.box,
            self.mask_logits,
            multimask_output=True,
        )


def self_prompt(
    probability: Tensor,
    known: Tensor,
    points_world: Tensor,
    image_size: tuple[int, int],
    config: SelfPromptConfig,
) -> SelfPrompt | None:
    """Return the self-prompt for a rendered mask.

    Args:
        probability: [h, w] rendered mask in [0, 1].
        known: [h, w] share of each pixel's light from elements with evidence.
        points_world: [h, w, 3] the surface seen in each pixel, world units.
        image_size: (width, height) of the full-size image prompts are given in.

    Returns:
        None if no pixel is certain enough.
    """
    inside = probability > 0.5
    certain = inside & (probability >= config.positive_threshold)
    if not certain.any():
        return None
    size_world = _extent(points_world[certain])
    positive = _spread_points(
        torch.where(certain, probability, 0.0) * _interior(inside),
        points_world,
        config.spread * size_world,
        config.positive_points,
    )
    beside = _ring(inside, config.ring) & (probability <= config.negative_threshold)
    negative = _spread_points(
        torch.where(beside, known * (1 - probability), 0.0),
        points_world,
        config.spread * size_world,
        config.negative_points,
    )
    height, width = probability.shape
    scale = np.array([image_size[0] / width, image_size[1] / height])
    coords = torch.cat([positive, negative]).cpu().numpy()
    labels = np.array([1] * len(positive) + [0] * len(negative))
    return SelfPrompt(
        point_coords=np.floor((coords + 0.5) * scale).astype(np.float32),
        point_labels=labels,
        box=_padded_box(inside, config.box_padding, scale, image_size),
        mask_logits=probability_to_logits(probability),
    )


def probability_to_logits(probability: Tensor) -> np.ndarray:
    """Convert a mask [h, w] in [0, 1] to SAM's low-resolution mask prompt, float32 [256, 256]."""
    square = torch.nn.functional.interpolate(
        probability[None, None].float(),
        (LOGITS_SIZE, LOGITS_SIZE),
        mode="bilinear",
        align_corners=False,
    )[0, 0]
    return torch.logit(square, eps=1e-4).cpu().numpy()


def _extent(points: Tensor) -> float:
    """Return the diameter of points [N, 3]: twice the 0.9 quantile of distances to their median."""
    return 2 * float((points - points.median(dim=0).values).norm(dim=-1).quantile(0.9)) + 1e-9


def _interior(inside: Tensor) -> Tensor:
    """Return the depth of each pixel inside a mask, in [0, 1], by averaging the mask twice."""
    side = max(3, int(inside.sum().sqrt() * 0.4) // 2 * 2 + 1)
    y, x = torch.nonzero(inside, as_tuple=True)
    near = (  # the averages are zero everywhere else
        slice(max(0, int(y.min()) - side), int(y.max()) + side + 1),
        slice(max(0, int(x.min()) - side), int(x.max()) + side + 1),
    )
    averages = inside[near][None, None].float()
    for _ in range(2):
        averages = torch.nn.functional.avg_pool2d(averages, side, 1, side // 2)
    values = torch.zeros(inside.shape)
    values[near] = averages[0, 0]
    return values


def _ring(inside: Tensor, share: float) -> Tensor:
    """Return the pixels within ``share`` of the object's size around its box, bool [h, w]."""
    y, x = torch.nonzero(inside, as_tuple=True)
    y0, y1, x0, x1 = int(y.min()), int(y.max()), int(x.min()), int(x.max())
    pad = int(share * max(y1 - y0, x1 - x0, 4)) + 1
    ring = torch.zeros_like(inside)
    ring[max(0, y0 - pad) : y1 + pad + 1, max(0, x0 - pad) : x1 + pad + 1] = True
    return ring


def _spread_points(confidence: Tensor, points_world: Tensor, distance: float, count: int) -> Tensor:
    """Choose up to ``count`` pixels (x, y), always the most confident of the remaining ones.

    A pixel at 3D distance ``d`` from a chosen point keeps ``min(1, d / distance)`` of its
    confidence, so that points spread over the object's surface, not over the image.
    """
    possible = torch.nonzero(confidence)
    remaining, points = confidence[tuple(possible.T)], points_world[tuple(possible.T)]
    chosen: list[int] = []
    while len(chosen) < count and len(remaining) and float(remaining.max()) > 0.05:
        best = int(remaining.argmax())
        chosen.append(best)
        away = (points - points[best]).norm(dim=-1) / distance
        remaining = remaining * away.clamp(0, 1)
        remaining[best] = 0
    return possible[chosen].flip(-1)


def _padded_box(
    inside: Tensor, padding: float, scale: np.ndarray, image_size: tuple[int, int]
) -> np.ndarray:
    y, x = torch.nonzero(inside, as_tuple=True)
    low = np.array([int(x.min()), int(y.min())]) * scale
    high = (np.array([int(x.max()), int(y.max())]) + 1) * scale - 1
    pad = padding * (high - low)
    limit = np.array(image_size) - 1
    return np.concatenate([np.clip(low - pad, 0, limit), np.clip(high + pad, 0, limit)])
