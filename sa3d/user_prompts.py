"""A user's prompts in one view become a mask of that view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sa3d.errors import SA3DError
from sa3d.prompts import Prompt, check_marks_object
from sa3d.segmentation import ViewRecord
from sa3d.segmenter import PromptableSegmenter
from sa3d.self_prompting import probability_to_logits
from sa3d.views import View


def segment_user_prompts(
    segmenter: PromptableSegmenter,
    view: View,
    prompts: Sequence[Prompt],
    before: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """The mask [H, W] of a prompted view and its predicted IoU.

    A mask the user gave is taken as it is. Points and the last box go to the segmenter, whose
    current image must be ``view``; a single click is ambiguous, so the best of three is taken.

    Args:
        before: [H, W] in [0, 1], the mask the user saw; points given last correct that mask.

    Raises:
        SA3DError: a prompt lies outside the image, or nothing is found there.
    """
    size = (view.camera.width, view.camera.height)
    for prompt in prompts:
        prompt.check_against(*size)
    masks = [mask for prompt in prompts if (mask := prompt.load_mask(*size)) is not None]
    if masks:
        return np.logical_or.reduce(masks), 1.0
    points = np.array([p for prompt in prompts for p in prompt.points], dtype=np.float32)
    labels = np.array([label for prompt in prompts for label in prompt.labels], dtype=np.int64)
    boxes = [prompt.box for prompt in prompts if prompt.box is not None]
    correcting = before is not None and prompts[-1].box is None and bool((before > 0.5).any())
    box = np.array(boxes[-1], dtype=np.float32) if boxes and not correcting else None
    if not correcting:
        check_marks_object(prompts)
    prediction = segmenter.predict(
        points if len(points) else None,
        labels if len(points) else None,
        box,
        probability_to_logits(torch.from_numpy(before)) if correcting else None,
        multimask_output=not correcting and box is None and len(points) == 1,
    )
    best = int(prediction.scores.argmax())
    if not prediction.masks[best].any():
        raise SA3DError(
            f"{segmenter.name} finds nothing at the prompt for {prompts[0].object!r} in "
            f"{view.name!r}: add points on the object, or a box around it"
        )
    return prediction.masks[best], float(prediction.scores[best])


def corrected_parts(
    before: np.ndarray, mask: np.ndarray, prompts: Sequence[Prompt], earlier: ViewRecord | None
) -> np.ndarray | None:
    """Where a user's corrections of a view changed what all views together said.

    Clicks speak for the connected part they lie in; a box or a mask speaks for all of the view.

    Args:
        before: [H, W] bool, what the views said.
        mask: [H, W] bool, what the user says.
        prompts: all of the user's in this view, the correction last.
        earlier: the view's record so far: what it corrected before stays, where the mask does.

    Returns:
        [H, W] bool, or None where nothing changed.
    """
    from skimage.measure import label

    changed = before != mask
    if prompts[-1].box is None and prompts[-1].mask is None:
        parts = np.asarray(label(changed, background=0, connectivity=2))
        clicked = {int(parts[int(y), int(x)]) for p in prompts for x, y in p.points}
        changed = np.isin(parts, list(clicked - {0}))
    if earlier is not None and earlier.corrected is not None and earlier.mask is not None:
        changed |= earlier.corrected & (earlier.mask == mask)
    return changed if changed.any() else None
