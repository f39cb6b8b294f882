from __future__ import annotations

import pytest
import torch

from sa3d.evaluation.reliability import reliability


def test_reliability_of_two_bins_by_hand() -> None:
    predicted = torch.tensor([0.1, 0.3, 0.8, 1.0])
    true = torch.tensor([False, True, True, True])
    curve = reliability(predicted, true, torch.tensor([3.0, 1.0, 1.0, 1.0]), bins=2)
    assert curve.predicted.tolist() == pytest.approx([0.15, 0.9])  # (0.1 * 3 + 0.3) / 4
    assert curve.observed.tolist() == pytest.approx([0.25, 1.0])
    assert curve.weight.tolist() == pytest.approx([4 / 6, 2 / 6])
    assert curve.error == pytest.approx(4 / 6 * 0.1 + 2 / 6 * 0.1)
    assert curve.doubtful_error == pytest.approx(0.1)


def test_probabilities_that_match_the_frequency_have_no_error() -> None:
    predicted = torch.tensor([0.25] * 4 + [0.75] * 4)
    true = torch.tensor([True, False, False, False, True, True, True, False])
    assert reliability(predicted, true, torch.ones(8)).error == pytest.approx(0)
