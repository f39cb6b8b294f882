from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sa3d.tcnn import fused_grid
from sa3d.tcnn.fused_grid import interpolate, is_possible
from sa3d.tcnn.hash_grid import hash_grid
from sa3d.tcnn.level_sizes import HashGridConfig, grid_levels, parameter_count

coordinates = st.floats(-2, 3, width=32)
points = st.lists(st.tuples(coordinates, coordinates, coordinates), min_size=1, max_size=8)


def grid(features: int, *, smooth: bool = False) -> HashGridConfig:
    """Resolutions 4, 8, 16 and 32: the first two levels are dense, the others hashed."""
    return HashGridConfig(4, features, 9, 4, 2.0, smooth)


@settings(max_examples=60, deadline=None)
@given(points, st.sampled_from([1, 2, 4]), st.booleans(), st.integers(0, 99))
def test_it_is_the_grid_in_torch(
    where: list[tuple[float, float, float]], features: int, smooth: bool, seed: int
) -> None:
    levels = grid_levels(grid(features, smooth=smooth))
    assert [level.dense for level in levels] == [True, True, False, False]
    params = torch.rand(
        parameter_count(levels, features), generator=torch.Generator().manual_seed(seed)
    )
    inputs = torch.tensor(where)
    fused = hash_grid(inputs, params, levels, features, smooth)
    in_torch = hash_grid(inputs.requires_grad_(), params, levels, features, smooth)
    assert in_torch.requires_grad, "nothing is compared: both are the fused pass"
    torch.testing.assert_close(fused, in_torch.detach(), atol=1e-6, rtol=1e-6)


def test_threads_and_blocks_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = grid_levels(grid(2))
    params = torch.rand(parameter_count(levels, 2))
    inputs = torch.rand(3 * fused_grid._BLOCK + 17, 3)
    whole = hash_grid(inputs, params, levels, 2, False)
    one_by_one = torch.cat([hash_grid(p[None], params, levels, 2, False) for p in inputs[:300]])
    assert torch.equal(whole[:300], one_by_one)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    used = []
    pool = fused_grid._pool
    monkeypatch.setattr(fused_grid, "_pool", lambda threads: used.append(threads) or pool(threads))
    assert torch.equal(whole, hash_grid(inputs, params, levels, 2, False))
    assert used == [3]


def test_no_points() -> None:
    levels = grid_levels(grid(2))
    params = torch.rand(parameter_count(levels, 2))
    assert hash_grid(torch.zeros(0, 3), params, levels, 2, False).shape == (0, 8)


def test_points_that_are_not_numbers_read_no_foreign_memory() -> None:
    levels = grid_levels(grid(2))
    params = torch.rand(parameter_count(levels, 2))
    strange = torch.tensor([[float("nan"), 0.5, 0.5], [float("inf"), 0.5, 0.5], [1e30, -1e30, 0]])
    encoded = hash_grid(strange, params, levels, 2, False)
    assert encoded[:2].isnan().all()


def test_where_it_is_possible() -> None:
    some = torch.rand(2, 3)
    wanted = torch.rand(2, 3, requires_grad=True)
    assert is_possible(some)
    assert not is_possible(some, wanted)
    assert not is_possible(some.half())
    assert not is_possible(some.to("meta"))
    with torch.no_grad():
        assert is_possible(some, wanted)


def test_without_a_folder_for_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    compile_ = numba.njit

    def no_cache(*args: Any, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compile_(*args, **options)

    monkeypatch.setattr(numba, "njit", no_cache)
    monkeypatch.setattr(fused_grid, "_compiled", fused_grid._compiled.__wrapped__)
    levels = grid_levels(grid(3))
    params = torch.rand(parameter_count(levels, 3))
    assert hash_grid(torch.rand(5, 3), params, levels, 3, False).shape == (5, 12)


def test_a_table_is_read_in_place() -> None:
    levels = grid_levels(grid(2))
    table = torch.zeros(parameter_count(levels, 2) // 2, 2)
    from sa3d.tcnn.hash_grid import _sizes

    before = interpolate(torch.full((1, 3), 0.5), table, _sizes(levels, False))
    table += 1
    after = interpolate(torch.full((1, 3), 0.5), table, _sizes(levels, False))
    torch.testing.assert_close(after - before, torch.ones(1, 8))
