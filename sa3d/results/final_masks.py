"""The final mask of a photo: what the 3D segmentation and the segmenter say, put together."""

from __future__ import annotations

import numpy as np

from sa3d.objects.segmentation import Segmentation
from sa3d.scene.scene import Scene
from sa3d.voting.mask_rendering import at_photo_size, render_mask, with_own_mask
from sa3d.voting.user_prompts import drawn_by_user


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
