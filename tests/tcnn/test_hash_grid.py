from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sa3d.base.errors import SA3DError
from sa3d.tcnn.binding import Encoding, NetworkWithInputEncoding
from sa3d.tcnn.hash_grid import HashGrid, hash_grid, level_corners
from sa3d.tcnn.level_sizes import GridLevel, HashGridConfig

SMALL = HashGridConfig(
    levels=3, features=2, log2_table_size=7, base_resolution=4, growth=2.0, smooth=False
)
"""Resolutions 4, 8 and 16: 64 entries of its own for each corner, then 128 shared ones."""
coordinates = st.floats(-2, 3, width=32)
points = st.lists(st.tuples(coordinates, coordinates, coordinates), min_size=1, max_size=8)


def test_one_cell_by_hand() -> None:
    """Scale 3: the point (0.5, 1/6, 1/3) lies at (2, 1, 1.5) after the shift by half a cell."""
    level = GridLevel(scale=3.0, resolution=4, offset=0, entries=64)
    corners, weights = level_corners(torch.tensor([[0.5, 1 / 6, 1 / 3]]), level)
    assert corners.tolist() == [
        [x + 4 * y + 16 * z for z in (1, 2) for y in (1, 2) for x in (2, 3)],
    ]
    torch.testing.assert_close(weights[0], torch.tensor([0.5, 0, 0, 0, 0.5, 0, 0, 0]))


def test_a_hashed_corner_by_hand() -> None:
    level = GridLevel(scale=99.0, resolution=100, offset=0, entries=1024)
    assert not level.dense
    corners, _ = level_corners(torch.tensor([[5.5 / 99, 6.5 / 99, 7.5 / 99]]), level)
    product = [6, 7 * 2654435761 % 2**32, 8 * 805459861 % 2**32]
    assert corners[0, 0] == (product[0] ^ product[1] ^ product[2]) % 1024


def test_the_last_corner_of_a_row_is_the_first_of_the_next() -> None:
    level = GridLevel(scale=3.0, resolution=4, offset=0, entries=64)
    corners, _ = level_corners(torch.tensor([[1.0, 0.0, 0.0]]), level)
    assert corners[0, 1] == 4
    corners, _ = level_corners(torch.tensor([[1.0, 1.0, 1.0]]), level)
    assert corners[0, 7] == (4 + 16 + 64) % 64


def test_levels_are_side_by_side() -> None:
    grid = HashGrid(SMALL)
    with torch.no_grad():
        for number, level in enumerate(grid.sizes):
            rows = grid.params.view(-1, 2)[level.offset : level.offset + level.entries]
            rows[:] = torch.tensor([number + 1.0, -number - 1.0])
    encoded = grid(torch.rand(5, 3))
    torch.testing.assert_close(encoded, torch.tensor([1.0, -1, 2, -2, 3, -3]).expand(5, 6))


@given(points, st.booleans())
def test_weights_add_up_to_one(where: list[tuple[float, float, float]], smooth: bool) -> None:
    for level in HashGrid(SMALL).sizes:
        corners, weights = level_corners(torch.tensor(where), level, smooth)
        torch.testing.assert_close(weights.sum(1), torch.ones(len(where)))
        assert weights.min() >= 0
        assert 0 <= corners.min() <= corners.max() < level.entries


@settings(max_examples=25)
@given(points, st.floats(-2, 2), st.integers(0, 99))
def test_the_encoding_is_linear_in_the_table(
    where: list[tuple[float, float, float]], factor: float, seed: int
) -> None:
    levels = HashGrid(SMALL).sizes
    random = torch.Generator().manual_seed(seed)
    one, other = torch.rand(2, 640, generator=random)

    def encode(params: torch.Tensor) -> torch.Tensor:
        return hash_grid(torch.tensor(where), params, levels, 2, False)

    torch.testing.assert_close(
        encode(one + factor * other), encode(one) + factor * encode(other), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("smooth", [False, True])
def test_gradients_are_right(smooth: bool) -> None:
    random = torch.Generator().manual_seed(0)
    where = torch.rand(3, 3, generator=random, dtype=torch.float64).requires_grad_()
    levels = HashGrid(SMALL).sizes[:1]
    params = torch.rand(128, generator=random, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, p: hash_grid(x, p, levels, 2, smooth), (where, params), fast_mode=True
    )


def test_training_reaches_the_entries_around_a_point() -> None:
    grid = HashGrid(SMALL)
    grid(torch.tensor([[0.3, 0.4, 0.5]])).sum().backward()
    assert grid.params.grad is not None
    used = grid.params.grad.view(-1, 2).any(1).sum()
    assert 8 <= used <= 24


def test_a_new_grid_is_almost_zero() -> None:
    assert 0 < HashGrid(SMALL).params.abs().max() <= 1e-4


def test_half_precision_is_read() -> None:
    grid = HashGrid(SMALL)
    stored = torch.rand(640).half()
    grid.load_state_dict({"params": stored})
    assert grid.params.dtype == torch.float32
    torch.testing.assert_close(grid.params.data, stored.float())


def test_inputs_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must have the shape \[N, 3\], have \[2, 4\]"):
        HashGrid(SMALL)(torch.zeros(2, 4))


GRID = {"otype": "HashGrid", "n_levels": 2, "log2_hashmap_size": 5, "base_resolution": 3}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"otype": "TiledGrid"}, "'otype'.*'TiledGrid'.*supported: HashGrid"),
        ({"interpolation": "Nearest"}, "'interpolation'.*'Nearest'"),
        ({"n_levels": 0}, "'n_levels'.*from 1 to 128, is 0"),
        ({"n_levels": True}, "'n_levels'.*whole number"),
        ({"n_features_per_level": 2.0}, "'n_features_per_level'"),
        ({"log2_hashmap_size": 99}, "'log2_hashmap_size'"),
        ({"per_level_scale": float("nan")}, "'per_level_scale'.*nan"),
        ({"per_level_scale": "2"}, "'per_level_scale'"),
        ({"stochastic_interpolation": True}, "unknown key 'stochastic_interpolation'"),
    ],
)
def test_options_that_are_not_known_are_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(SA3DError, match=named):
        Encoding(3, {**GRID, **change})
    if "otype" not in change:
        with pytest.raises(SA3DError, match=named):
            NetworkWithInputEncoding(3, 1, {**GRID, **change}, {"otype": "FullyFusedMLP"})


def test_other_numbers_of_inputs_are_refused() -> None:
    with pytest.raises(SA3DError, match="3 inputs, not 2"):
        Encoding(2, GRID)
    with pytest.raises(SA3DError, match="3 inputs, not 4"):
        NetworkWithInputEncoding(4, 1, GRID, {"otype": "FullyFusedMLP"})


def test_smooth_weights_by_hand() -> None:
    level = GridLevel(scale=4.0, resolution=5, offset=0, entries=128)
    where = torch.tensor([[(2.25 - 0.5) / 4, 0.125, 0.125]])
    _, weights = level_corners(where, level, smooth=True)
    np.testing.assert_allclose(weights[0, 1], 0.25**2 * (3 - 2 * 0.25), rtol=1e-5)
