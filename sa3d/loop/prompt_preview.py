"""Preview of prompts: the mask that they would give in their view, before any vote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sa3d.loop.correction import much_larger, shown_mask
from sa3d.loop.object_loop import ObjectLoop
from sa3d.objects.prompts import Prompt
from sa3d.segmenters.protocol import MaskPrediction
from sa3d.voting.user_prompts import has_drawn_mask, mask_to_correct, predict_from_prompts


@dataclass(frozen=True)
class PromptPreview:
    """Mask that prompts of one view give.

    Attributes:
        view: the view's index.
        mask: [H, W] bool.
        score: the mask's predicted IoU.
        candidates: the segmenter's three candidates, to choose from by ``Prompt.candidate``; None
            if there is no choice (the prompt is a mask, or points that correct a mask).
        uncertain: whether the mask is so much larger than the shown one that the nearest views
            decide; if they disagree, a smaller mask is used.
    """

    view: int
    mask: np.ndarray
    score: float
    candidates: MaskPrediction | None
    uncertain: bool = False


def preview_prompts(loop: ObjectLoop, prompts: Sequence[Prompt]) -> PromptPreview:
    """Return the mask of an object's prompts in the last one's view, without changing the loop.

    Args:
        loop: of the object; it need not have any of these prompts yet.
        prompts: all of the object's prompts, the newest last.

    Raises:
        SA3DError: the segmenter finds nothing at the prompts.
    """
    index = loop.scene.view_index(prompts[-1].view)
    here = [prompt for prompt in prompts if loop.scene.view_index(prompt.view) == index]
    before = shown_mask(loop, index) if loop.state.votes else None
    mask, score, _ = loop.mask_from_prompts(index, prompts, before)
    candidates = None
    if not has_drawn_mask(here) and mask_to_correct(before, prompts[-1]) is None:
        candidates = predict_from_prompts(loop.segmenter, here, multimask_output=True)
    uncertain = prompts[-1].mask is None and before is not None and much_larger(mask, before)
    return PromptPreview(index, mask, score, candidates, uncertain)
