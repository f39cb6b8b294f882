"""Final masks at the size of the photo: the rendered mask and the view's own mask together."""

from __future__ import annotations

import numpy as np

from sa3d.objects.segmentation import Segmentation
from sa3d.scene.scene import Scene
from sa3d.voting.mask_rendering import at_photo_size, render_mask, with_own_mask
from sa3d.voting.user_prompts import has_drawn_mask


def final_mask(
    scene: Scene, segmentation: Segmentation, name: str, view_index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the final mask of one object in a view; see ``final_masks``.

    Returns:
        mask: bool [H, W], at the size of the photo.
        probability: float32 [H, W] in [0, 1], above 0.5 where the mask is set.

    Raises:
        SA3DError: there is no such object.
    """
    segmentation.object(name)
    return final_masks(scene, segmentation, view_index)[name]


def final_masks(
    scene: Scene, segmentation: Segmentation, view_index: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the final masks of all objects in a view; no pixel is in two of them.

    The rendered mask shows what all views agree on; the view's own mask, if it was accepted, has
    sharper edges. The final mask is where their mean is above 0.5, see ``with_own_mask``. A
    rejected or unseen view has only the rendered mask. A view in which the user drew a mask keeps
    that mask. A pixel claimed by several objects goes to the most probable one; if they are equal,
    to the first.

    Args:
        scene: prepared, of the segmentation.
        segmentation: with at least one object.
        view_index: position of the view in ``scene.views``.

    Returns:
        By object name, ``mask`` (bool [H, W]) and ``probability`` (float32 [H, W] in [0, 1]), both
        at the size of the photo.

    Example:
        >>> mask, probability = final_masks(scene, segmentation, 0)["mug"]
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
    """Render an object's evidence share in a view and enlarge it to the photo: [H, W] in [0, 1]."""
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
    drawn = has_drawn_mask(one.prompts_in(scene.views[view_index].name))
    if drawn and record is not None and record.mask is not None:
        return record.mask.astype(np.float32)
    rendered = rendered_probability(scene, segmentation, name, view_index)
    return with_own_mask(rendered, record)
