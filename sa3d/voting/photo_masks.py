"""Rendered masks at the size of the photo, and the view's own mask beside them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import ViewRecord
from sa3d.scene.scene import Scene

AGREEMENT_POWER = 4
"""A view's own mask counts this power of its agreement with the other views, beside 1 for the
rendered one: where the segmenter erred, the other views decide (measured, docs/robustness.md)."""


def at_photo_size(scene: Scene, view_index: int, values: Tensor) -> np.ndarray:
    """Values in [0, 1] at operator resolution, [R], enlarged to the photo's size: [H, W]."""
    rays, photo = scene.prepared(view_index).camera, scene.views[view_index].camera
    full = torch.nn.functional.interpolate(
        values.reshape(1, 1, rays.height, rays.width),
        (photo.height, photo.width),
        mode="bilinear",
        align_corners=False,
    )
    return full[0, 0].clamp(0, 1).cpu().numpy()


def with_own_mask(rendered: np.ndarray, record: ViewRecord | None) -> np.ndarray:
    """A rendered mask [H, W] in [0, 1] and the view's own mask, if that voted: their mean.

    The own mask counts ``agreement ** AGREEMENT_POWER``: the user's counts as much as all views
    together, one that the other views contradict hardly at all.
    """
    if record is None or record.mask is None or record.outcome not in ("prompted", "accepted"):
        return rendered
    weight = record.agreement**AGREEMENT_POWER
    return (rendered + weight * record.mask.astype(np.float32)) / (1 + weight)


def drawn_by_user(prompts: Iterable[Prompt]) -> bool:
    """Whether the user's prompts in a view give the object's mask there."""
    return any(prompt.mask is not None for prompt in prompts)
