"""Check of a segmenter's answer: every question to a segmenter goes through ``ask``."""

from __future__ import annotations

import logging

import numpy as np

from sa3d.base.errors import SA3DError
from sa3d.segmenters.protocol import MaskPrediction, PromptableSegmenter

_LOG = logging.getLogger(__name__)
_BACKGROUND_LOGIT = -10.0
"""Logit of a pixel that is not on the object."""


class NoScoreError(SA3DError):
    """The segmenter gave no candidate with a score that is a number."""


def ask(
    segmenter: PromptableSegmenter,
    point_coords: np.ndarray | None = None,
    point_labels: np.ndarray | None = None,
    box: np.ndarray | None = None,
    mask_logits: np.ndarray | None = None,
    *,
    multimask_output: bool = False,
) -> MaskPrediction:
    """Segment the prompted object in the segmenter's current image, and check the answer.

    A candidate whose score or logits are not finite is refused: it becomes an empty mask with score
    0. So all candidates keep their numbers.

    Args:
        segmenter: with a current image.
        point_coords, point_labels, box, mask_logits, multimask_output: see
            ``PromptableSegmenter.predict``.

    Raises:
        NoScoreError: every candidate is refused.
    """
    answer = segmenter.predict(
        point_coords, point_labels, box, mask_logits, multimask_output=multimask_output
    )
    usable = np.isfinite(answer.scores) & np.isfinite(answer.logits).all(axis=(1, 2))
    if usable.all() and len(usable):
        return answer
    if not usable.any():
        raise NoScoreError(
            f"{segmenter.name} gave scores that are not numbers: compute on device='cpu', where "
            "numbers are more precise, or use another segmenter"
        )
    _LOG.warning(
        "%s gave %d of %d masks without a number as their score; they are not used",
        segmenter.name,
        int((~usable).sum()),
        len(usable),
    )
    return MaskPrediction(
        answer.masks & usable[:, None, None],
        np.where(usable, answer.scores, 0).astype(np.float32),
        np.where(usable[:, None, None], answer.logits, _BACKGROUND_LOGIT).astype(np.float32),
    )
