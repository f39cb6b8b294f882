"""A user's prompts in one view become a mask of that view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sa3d.errors import SA3DError
from sa3d.prompts import Prompt
from sa3d.segmenter import PromptableSegmenter
from sa3d.views import View


def segment_user_prompts(
    segmenter: PromptableSegmenter, view: View, prompts: Sequence[Prompt]
) -> tuple[np.ndarray, float]:
    """The mask [H, W] of a prompted view and its predicted IoU.

    A mask the user gave is taken as it is. Points and the last box go to the segmenter, whose
    current image must be ``view``; a single click is ambiguous, so the best of three is taken.

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
    prediction = segmenter.predict(
        points if len(points) else None,
        labels if len(points) else None,
        np.array(boxes[-1], dtype=np.float32) if boxes else None,
        multimask_output=not boxes and len(points) == 1,
    )
    best = int(prediction.scores.argmax())
    if not prediction.masks[best].any():
        raise SA3DError(
            f"{segmenter.name} finds nothing at the prompt for {prompts[0].object!r} in "
            f"{view.name!r}: add points on the object, or a box around it"
        )
    return prediction.masks[best], float(prediction.scores[best])
