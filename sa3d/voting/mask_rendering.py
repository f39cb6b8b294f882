"""Rendered masks: an object's evidence share, seen through the field's own weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa3d.base.sums import ordered_sum
from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.segmentation import ViewRecord
from sa3d.scene.scene import Scene
from sa3d.scene.view_operator import ViewOperator

MIN_ACCUMULATION = 0.05
"""The rendered mask of a ray with less accumulation than this is 0."""

AGREEMENT_POWER = 4
"""A view's own mask has the weight ``agreement ** AGREEMENT_POWER``, the rendered mask weight 1. So
the other views decide where the segmenter erred (measured, docs/robustness.md)."""


@dataclass(frozen=True)
class RenderedMask:
    """Mask of an object rendered in one view, at operator resolution [R].

    Attributes:
        probability: the rendered mask: share of each pixel's light from the object, in [0, 1].
        known: share of each pixel's light from elements with evidence, in [0, 1].
    """

    probability: Tensor
    known: Tensor


def render_share(operator: ViewOperator, values: Tensor) -> Tensor:
    """Render the weighted mean of element values [N] or [N, K] along each ray: [R] or [R, K].

    The result is ``W v / W 1``, so weights that were pruned do not darken the mask.
    """
    return _mean_along_rays(operator, values[operator.element_ids])


def render_mask(
    operator: ViewOperator, evidence: Evidence, *, prior: float, prior_weight: float
) -> RenderedMask:
    """Render an object's evidence share; elements without votes have the prior's share.

    The cost grows with the view's elements, not with the scene's.
    """
    seen = evidence.at(operator.element_ids)
    return render_masks(operator, [seen], prior=prior, prior_weight=prior_weight)[0]


def render_masks(
    operator: ViewOperator, seen: Sequence[Evidence], *, prior: float, prior_weight: float
) -> list[RenderedMask]:
    """Render K objects' evidence shares by one product, each as ``render_mask`` does.

    Args:
        operator: of the view.
        seen: evidence of the view's elements, [n] each, in the order of ``operator.element_ids``.
        prior, prior_weight: see ``Evidence.share``.
    """
    columns = [
        column
        for one in seen
        for column in (one.share(prior, prior_weight), one.total / (one.total + prior_weight))
    ]
    rendered = _mean_along_rays(operator, torch.stack(columns).T).T
    return [RenderedMask(*pair) for pair in rendered.unflatten(0, (-1, 2))]


def _mean_along_rays(operator: ViewOperator, values: Tensor) -> Tensor:
    accumulation = operator.accumulation
    if values.ndim > 1:
        accumulation = accumulation[:, None]
    mean = operator.render_local(values) / accumulation.clamp_min(MIN_ACCUMULATION)
    return torch.where(accumulation < MIN_ACCUMULATION, 0.0, mean)


def agreement(mask: Tensor, rendered: RenderedMask) -> float:
    """Return the IoU of a view's mask [R] with the mask rendered from the other views' votes.

    Each pixel has the weight ``rendered.known``: a view that is the first to see an object's back
    does not disagree with other views. If both masks are empty, the agreement is 1 if any pixel
    has evidence, else 0.
    """
    mine, theirs = mask > 0.5, rendered.probability > 0.5
    if not (mine | theirs).any():
        return float(rendered.known.any())
    shared = ordered_sum(rendered.known * (mine & theirs))
    return shared / max(ordered_sum(rendered.known * (mine | theirs)), 1e-6)


def at_photo_size(scene: Scene, view_index: int, values: Tensor) -> np.ndarray:
    """Enlarge values in [0, 1] at operator resolution, [R], to the photo's size: [H, W]."""
    rays, photo = scene.prepared(view_index).camera, scene.views[view_index].camera
    full = torch.nn.functional.interpolate(
        values.reshape(1, 1, rays.height, rays.width),
        (photo.height, photo.width),
        mode="bilinear",
        align_corners=False,
    )
    return full[0, 0].clamp(0, 1).cpu().numpy()


def with_own_mask(rendered: np.ndarray, record: ViewRecord | None) -> np.ndarray:
    """Return the mean of a rendered mask [H, W] in [0, 1] and the own mask of a view that voted.

    The own mask has the weight ``agreement ** AGREEMENT_POWER``: 1 for a prompted view, almost 0
    for a mask that the other views contradict.
    """
    if record is None or record.mask is None or record.outcome not in ("prompted", "accepted"):
        return rendered
    weight = record.agreement**AGREEMENT_POWER
    return (rendered + weight * record.mask.astype(np.float32)) / (1 + weight)
