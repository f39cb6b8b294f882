"""Probabilities from evidence, and how far they can be believed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.segmentation import Segmentation
from sa3d.results.calibration import (
    FITTED,
    Calibration,
    calibrated_probability,
    reliability,
    rendered_certainty,
)
from sa3d.testing.analytic_scene import AnalyticScene


def of(for_it: float, against: float, calibration: Calibration = FITTED) -> float:
    total = torch.tensor([for_it + against])
    return float(calibration.probability(Evidence(torch.tensor([for_it]), total)))


amounts = st.floats(0, 50, allow_subnormal=False)


@given(amounts, amounts, st.floats(0.01, 10))
def test_more_votes_for_never_lower_it_and_more_against_never_raise_it(
    for_it: float, against: float, more: float
) -> None:
    assert of(for_it + more, against) >= of(for_it, against) - 1e-6
    assert of(for_it, against + more) <= of(for_it, against) + 1e-6
    assert 0 <= of(for_it, against) <= 1


def test_without_slope_it_is_the_mean_of_a_beta_posterior() -> None:
    assert of(3.0, 1.0, Calibration(0.5, 1.0)) == pytest.approx(3.5 / 5)
    assert of(0.0, 0.0) == pytest.approx(0.5)
    assert of(3.0, 1.0, Calibration(0.5, 2.0)) == pytest.approx(1 / (1 + (1.5 / 3.5) ** 2))


def test_exact_votes_leave_little_doubt(still_life: AnalyticScene, voted: Segmentation) -> None:
    probability = calibrated_probability(voted, "ball")
    seen = rendered_certainty(still_life.scene, probability, 0)
    exact = torch.from_numpy(still_life.masks["ball"][0])
    assert seen.shape == exact.shape
    assert float(seen[exact].mean()) > 0.95
    assert float(seen[~exact].mean()) < 0.02


def test_reliability_of_two_bins_by_hand() -> None:
    said = torch.tensor([0.1, 0.3, 0.8, 1.0])
    true = torch.tensor([False, True, True, True])
    curve = reliability(said, true, torch.tensor([3.0, 1.0, 1.0, 1.0]), bins=2)
    assert curve.said.tolist() == pytest.approx([0.15, 0.9])  # (0.1 * 3 + 0.3) / 4
    assert curve.true.tolist() == pytest.approx([0.25, 1.0])
    assert curve.weight.tolist() == pytest.approx([4 / 6, 2 / 6])
    assert curve.error == pytest.approx(4 / 6 * 0.1 + 2 / 6 * 0.1)
    assert curve.doubtful_error == pytest.approx(0.1)


def test_what_is_right_as_often_as_said_has_no_error() -> None:
    said = torch.tensor([0.25] * 4 + [0.75] * 4)
    true = torch.tensor([True, False, False, False, True, True, True, False])
    assert reliability(said, true, torch.ones(8)).error == pytest.approx(0)
