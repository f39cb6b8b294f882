"""Calibrated probabilities from evidence."""

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
