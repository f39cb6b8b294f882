"""Which of the segmenter's candidate masks a view speaks with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa3d.scene.scene import PreparedView
from sa3d.segmenters.protocol import MaskPrediction
from sa3d.surfaces.connected_surface import connected_surface
from sa3d.voting.extent import Extent
from sa3d.voting.mask_rendering import RenderedMask, agreement


@dataclass(frozen=True)
class Choice:
    """The mask chosen for a view.

    Attributes:
        mask: [H, W] bool, without parts that touch the object in the picture but not in 3D.
        score: its predicted IoU.
        agreement: its IoU with what the other views say here.
        candidate: which of how many it is, for people.
    """

    mask: np.ndarray
    score: float
    agreement: float
    candidate: str


def choose(
    prediction: MaskPrediction,
    view: PreparedView,
    rendered: RenderedMask,
    extent: Extent,
    *,
    max_gap: float,
    agreement_weight: float,
) -> Choice:
    """The candidate with the best predicted IoU plus ``agreement_weight`` times its agreement.

    Agreement counts little: what agrees most with the rendered mask copies the prompt, and the
    loop would learn nothing (measured, see docs/adr/0003). It keeps a segmenter that offers part
    and whole from taking another of them in every view.

    Args:
        rendered: what the other views say about this one.
        extent: where the object is known to be.
        max_gap: see ``find_strays``, world units.
    """
    seeds, count = rendered.probability > 0.5, len(prediction.scores)
    best, best_value = None, -np.inf
    for number in np.argsort(-prediction.scores, kind="stable").tolist():
        score = float(prediction.scores[number])
        if score + agreement_weight < best_value:
            break  # nor can those after it be the best, whatever they agree with
        shares = view.mask_to_rays(prediction.masks[number])
        stray = find_strays(shares > 0.5, view, seeds, extent, max_gap)
        shared = agreement(shares.masked_fill(stray, 0).to(seeds.device), rendered)
        if (value := score + agreement_weight * shared) > best_value:
            best, best_value = (number, score, shared, stray), value
    assert best is not None
    number, score, shared, stray = best
    mask = without(prediction.masks[number], stray, view)
    return Choice(mask, score, shared, f"{number + 1} of {count}")


def find_strays(
    claimed: Tensor, view: PreparedView, seeds: Tensor, extent: Extent, max_gap: float
) -> Tensor:
    """Parts of a mask that touch the object in the picture but not in 3D, bool [R].

    Parts within the object's extent are none: where a NeRF is weak its own surface is torn.

    Args:
        claimed: bool [R], the mask at operator resolution.
        seeds: bool [R], where the object is known to be.
        extent: where the object is known to be.
        max_gap: see ``connected_surface``; as far beyond the extent may
            a torn part lie.
    """
    points = view.points_world
    mask, inside = (one.cpu().reshape(points.shape[:-1]) for one in (claimed, seeds))
    beyond = mask.clone()
    beyond[mask] = ~extent.grown(max_gap).contains(points[mask])
    if beyond.any():
        beyond &= ~connected_surface(mask, inside, points, max_gap)
    return beyond.reshape(-1)


def without(mask: np.ndarray, parts: Tensor, view: PreparedView) -> np.ndarray:
    """A view's mask [H, W] bool less some of its rays' pixels, bool [R]."""
    if not parts.any():
        return mask
    small = parts.reshape(1, 1, view.camera.height, view.camera.width).float()
    enlarged = torch.nn.functional.interpolate(small, mask.shape)[0, 0]
    return mask & ~(enlarged > 0).numpy()
