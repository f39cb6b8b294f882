"""Choice of a view's mask among the segmenter's candidates, without stray parts."""

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
    """Chosen mask of a view.

    Attributes:
        mask: [H, W] bool, without parts that touch the object in the image but not in 3D.
        score: the mask's predicted IoU.
        agreement: the mask's IoU with the mask rendered from the other views' votes.
        candidate: the mask's number among the candidates, for example "2 of 3".
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
    """Choose the candidate with the best predicted IoU plus ``agreement_weight`` times agreement.

    The weight is small, since the mask that agrees most repeats the self-prompt, and the loop would
    learn nothing from that mask (measured, see docs/adr/0003). With weight 0, the loop could get a
    part of the object in one view and the whole object in the next.

    Args:
        prediction: the candidates.
        view: the view, prepared.
        rendered: the mask rendered from the other views' votes.
        extent: of the lifted object.
        max_gap: see ``find_strays``, world units.
        agreement_weight: see ``LoopConfig``.
    """
    seeds, count = rendered.probability > 0.5, len(prediction.scores)
    best, best_value = None, -np.inf
    for number in np.argsort(-prediction.scores, kind="stable").tolist():
        score = float(prediction.scores[number])
        if score + agreement_weight < best_value:
            break  # the next candidates cannot be better, even with agreement 1
        shares = view.mask_to_rays(prediction.masks[number])
        stray = find_strays(shares > 0.5, view, seeds, extent, max_gap)
        shared = agreement(shares.masked_fill(stray, 0).to(seeds.device), rendered)
        if (value := score + agreement_weight * shared) > best_value:
            best, best_value = (number, score, shared, stray), value
    assert best is not None
    number, score, shared, stray = best
    mask = remove_rays(prediction.masks[number], stray, view)
    return Choice(mask, score, shared, f"{number + 1} of {count}")


def find_strays(
    claimed: Tensor, view: PreparedView, seeds: Tensor, extent: Extent, max_gap: float
) -> Tensor:
    """Return the parts of a mask that touch the object in the image but not in 3D, bool [R].

    Parts inside the object's extent are kept, since the object's own surface has gaps where a field
    is poor.

    Args:
        claimed: bool [R], the mask at operator resolution.
        view: the view, prepared.
        seeds: bool [R], rays that see the object.
        extent: of the lifted object.
        max_gap: see ``connected_surface``; the extent is also grown by this length.
    """
    points = view.points_world
    mask, inside = (one.cpu().reshape(points.shape[:-1]) for one in (claimed, seeds))
    beyond = mask.clone()
    beyond[mask] = ~extent.grown(max_gap).contains(points[mask])
    if beyond.any():
        beyond &= ~connected_surface(mask, inside, points, max_gap)
    return beyond.reshape(-1)


def remove_rays(mask: np.ndarray, parts: Tensor, view: PreparedView) -> np.ndarray:
    """Return a view's mask [H, W] bool without the pixels of some rays, bool [R]."""
    if not parts.any():
        return mask
    small = parts.reshape(1, 1, view.camera.height, view.camera.width).float()
    enlarged = torch.nn.functional.interpolate(small, mask.shape)[0, 0]
    return mask & ~(enlarged > 0).numpy()
