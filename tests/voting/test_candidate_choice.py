"""Tests of the choice among candidates: by predicted IoU, and a little by agreement."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sa3d.segmenters.protocol import LOGITS_SIZE, MaskPrediction
from sa3d.testing.analytic_scene import AnalyticScene
from sa3d.voting.candidate_choice import Choice, choose
from sa3d.voting.extent import Extent
from sa3d.voting.mask_rendering import RenderedMask


def chosen(still_life: AnalyticScene, scores: list[float], weight: float) -> Choice:
    """Choose between the ball's upper half and the ball; the other views voted for the ball."""
    view, ball = still_life.scene.prepared(0), still_life.masks["ball"][0]
    rows = np.flatnonzero(ball.any(axis=1))
    part = ball.copy()
    part[rows[len(rows) // 2] :] = False
    share = view.mask_to_rays(ball)
    prediction = MaskPrediction(
        np.stack([part, ball]),
        np.array(scores, np.float32),
        np.zeros((2, LOGITS_SIZE, LOGITS_SIZE), np.float32),
    )
    rendered = RenderedMask(share, torch.ones_like(share))
    everywhere = Extent(torch.full((3,), -1e9), torch.full((3,), 1e9))
    return choose(prediction, view, rendered, everywhere, max_gap=1e9, agreement_weight=weight)


@pytest.mark.parametrize(
    ("scores", "weight", "expected"),
    [
        ([0.9, 0.85], 0.25, "2 of 2"),  # a lower score, but it agrees with the other views
        ([0.9, 0.85], 0.0, "1 of 2"),
        ([0.9, 0.7], 0.25, "1 of 2"),  # much less sure: the others may be wrong
    ],
)
def test_agreement_tips_the_scales(
    still_life: AnalyticScene, scores: list[float], weight: float, expected: str
) -> None:
    choice = chosen(still_life, scores, weight)
    assert choice.candidate == expected
    whole = expected.startswith("2")
    assert choice.score == pytest.approx(scores[1] if whole else scores[0])
    assert (choice.agreement > 0.95) == whole
