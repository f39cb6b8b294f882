from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from sa3d.base.errors import SA3DError
from sa3d.tcnn.binding import Encoding
from sa3d.tcnn.spherical_harmonics import spherical_harmonics


def by_scipy(directions: np.ndarray, degree: int) -> np.ndarray:
    """Return real spherical harmonics of SciPy's complex ones, which have Condon and Shortley's
    phase; so has tiny-cuda-nn, and that is its sign of odd orders."""
    x, y, z = directions.T
    polar, azimuth = np.arccos(z), np.arctan2(y, x)
    columns = []
    for band in range(degree):
        for order in range(-band, band + 1):
            value = sph_harm_y(band, abs(order), polar, azimuth)
            part = value.imag if order < 0 else value.real
            columns.append(part * (np.sqrt(2) if order else 1))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_they_are_the_real_spherical_harmonics(degree: int) -> None:
    directions = np.random.default_rng(0).normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    found = spherical_harmonics(torch.from_numpy((directions + 1) / 2), degree)
    np.testing.assert_allclose(found, by_scipy(directions, degree), atol=1e-12)


def test_gradients_flow() -> None:
    inputs = torch.rand(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: spherical_harmonics(x, 4), inputs)


@pytest.mark.parametrize("config", [{"degree": 5}, {"degree": 0}, {"levels": 4}])
def test_what_is_not_supported_is_refused(config: dict[str, int]) -> None:
    with pytest.raises(SA3DError, match=r"degree|levels"):
        Encoding(3, {"otype": "SphericalHarmonics", **config})


def test_no_parameters_are_loaded() -> None:
    module = Encoding(3, {"otype": "SphericalHarmonics", "degree": 4})
    assert {name: list(value.shape) for name, value in module.state_dict().items()} == {
        "params": [0]
    }
    with pytest.raises(RuntimeError, match=r"params has the shape \[3\]"):
        module.load_state_dict({"params": torch.zeros(3)})
