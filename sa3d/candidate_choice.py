"""Which of the segmenter's candidate masks a view speaks with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sa3d.mask_rendering import RenderedMask, agreement
from sa3d.object_extent import Extent
from sa3d.scene import PreparedView
from sa3d.segmenter import MaskPrediction
from sa3d.stray_removal import without_strays


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
        max_gap: see :func:`sa3d.stray_removal.without_strays`, world units.
    """
    seeds, count = rendered.probability > 0.5, len(prediction.scores)
    choices = []
    for number, score in enumerate(prediction.scores.tolist()):
        mask = without_strays(prediction.masks[number], view, seeds, extent, max_gap)
        shared = agreement(view.at_rays(mask).to(seeds.device), rendered)
        choices.append(Choice(mask, score, shared, f"{number + 1} of {count}"))
    return max(choices, key=lambda choice: choice.score + agreement_weight * choice.agreement)
