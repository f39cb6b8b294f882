"""Tests of the check of a segmenter's answer."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from sa3d.base.errors import SA3DError
from sa3d.segmenters.answer_check import ask
from sa3d.segmenters.protocol import MaskPrediction
from sa3d.testing.oracle_segmenter import OracleSegmenter

IMAGE = np.zeros((8, 8, 3), np.uint8)
MASK = np.pad(np.ones((6, 6), bool), 1)
CLICK = np.array([[3, 3]]), np.array([1])


class _Changed(OracleSegmenter):
    """Segmenter with other scores or logits for its three candidates."""

    changes: dict[str, np.ndarray]

    def predict(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        return replace(super().predict(*args, **kwargs), **self.changes)


def answer(**changes: np.ndarray) -> MaskPrediction:
    segmenter = _Changed({"view": IMAGE}, {"view": {"line": MASK}})
    segmenter.set_image(IMAGE)
    segmenter.changes = changes
    return ask(segmenter, *CLICK, multimask_output=True)


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_an_answer_in_order_is_passed_on() -> None:
    assert answer().masks[0].any()
    assert answer(scores=scores(0.1, 0.5, 0.3)).scores.tolist() == scores(0.1, 0.5, 0.3).tolist()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_candidate_without_a_score_is_refused_and_the_others_keep_their_numbers(
    wrong: float, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = answer(scores=scores(0.1, wrong, 0.3))
    assert "1 of 3 masks" in caplog.text
    assert found.scores.tolist() == scores(0.1, 0, 0.3).tolist()
    assert [bool(mask.any()) for mask in found.masks] == [True, False, True]
    assert (found.logits[1] < 0).all()


def test_a_candidate_with_wrong_logits_is_refused() -> None:
    logits = np.zeros((3, 256, 256), np.float32)
    logits[2, 7, 7] = np.nan
    found = answer(logits=logits)
    assert found.scores[2] == 0
    assert np.isfinite(found.logits).all()  # they may prompt the segmenter again


def test_without_any_score_the_segmenter_is_named() -> None:
    with pytest.raises(SA3DError, match=r"^oracle.* gave scores that are not numbers: .*'cpu'"):
        answer(scores=scores(np.nan, np.nan, np.nan))
