"""The final mask of a photo: what the 3D segmentation and the segmenter say, put together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import Segmentation, ViewRecord
from sa3d.scene.scene import Scene
from sa3d.voting.mask_rendering import render_mask

AGREEMENT_POWER = 4
"""A view's own mask counts this power of its agreement with the other views, beside 1 for the
rendered one: where the segmenter erred, the other views decide (measured, docs/robustness.md)."""


def final_mask(
    scene: Scene, segmentation: Segmentation, name: str, view_index: int
) -> tuple[np.ndarray, np.ndarray]:
    """An object's mask in a photo, and its probability; see ``final_masks``.

    Returns:
        mask: bool [H, W].
        probability: float32 [H, W] in [0, 1].

    Raises:
        SA3DError: no such object.
    """
    segmentation.object(name)
    return final_masks(scene, segmentation, view_index)[name]


def final_masks(
    scene: Scene, segmentation: Segmentation, view_index: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """All objects' masks in a photo, at the photo's size: (mask, probability) by name.

    The rendered mask knows what all views agree on, the segmenter's own mask of an accepted view
    knows its edges: their mean decides, see ``with_own_mask``. A rejected or unseen view goes
    by the rendered mask alone, and a view where the user gave a mask keeps it. A pixel that several
    objects claim goes to the most probable one, the first among equals.
    """
    probabilities = {
        name: _probability(scene, segmentation, name, view_index) for name in segmentation.objects
    }
    winner = np.argmax(np.stack(list(probabilities.values())), axis=0)
    return {
        name: ((probability > 0.5) & (winner == position), probability)
        for position, (name, probability) in enumerate(probabilities.items())
    }


def drawn_by_user(prompts: Iterable[Prompt]) -> bool:
    """Whether the user's prompts in a view give the object's mask there."""
    return any(prompt.mask is not None for prompt in prompts)


def rendered_probability(
    scene: Scene, segmentation: Segmentation, name: str, view_index: int
) -> np.ndarray:
    """The evidence share rendered in a view and enlarged to the photo's size: [H, W]."""
    prepared = scene.prepared(view_index)
    rendered = render_mask(
        prepared.operator,
        segmentation.object(name).evidence,
        prior=segmentation.prior,
        prior_weight=segmentation.prior_weight,
    )
    return at_photo_size(scene, view_index, rendered.probability)


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


def _probability(
    scene: Scene, segmentation: Segmentation, name: str, view_index: int
) -> np.ndarray:
    one = segmentation.object(name)
    record = one.views.get(view_index)
    drawn = drawn_by_user(one.prompts_in(scene.views[view_index].name))
    if drawn and record is not None and record.mask is not None:
        return record.mask.astype(np.float32)
    rendered = rendered_probability(scene, segmentation, name, view_index)
    return with_own_mask(rendered, record)


def with_own_mask(rendered: np.ndarray, record: ViewRecord | None) -> np.ndarray:
    """A rendered mask [H, W] in [0, 1] and the view's own mask, if that voted: their mean.

    The own mask counts ``agreement ** AGREEMENT_POWER``: the user's counts as much as all views
    together, one that the other views contradict hardly at all.
    """
    if record is None or record.mask is None or record.outcome not in ("prompted", "accepted"):
        return rendered
    weight = record.agreement**AGREEMENT_POWER
    return (rendered + weight * record.mask.astype(np.float32)) / (1 + weight)
