from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sa3d.base.array_files import load_arrays, save_arrays
from sa3d.base.errors import SA3DError
from sa3d.fields.radiance_field import FieldRender
from sa3d.geometry.bounds import Bounds
from sa3d.geometry.camera import Rays
from sa3d.scene.elements import MaskGrid
from sa3d.scene.view_operator import ViewOperator, assemble, build_view_operator, unproject
from sa3d.testing.analytic_scene import AnalyticScene, spiral_camera

GRID = MaskGrid(Bounds("box"), resolution=2)
ALL_KEYS = torch.arange(8)
# Key of a voxel from its signs: x * 4 + y * 2 + z, upper half 1.
LOW, HIGH_Z, HIGH_X = 0, 1, 4


def bundle(positions: list, weights: list) -> FieldRender:
    weight = torch.tensor(weights)
    rays = len(weight)
    return FieldRender(
        rgb=torch.zeros(rays, 3),
        depth=torch.zeros(rays),
        accumulation=weight.sum(-1),
        positions=torch.tensor(positions),
        weights=weight,
    )


A, A2, B, C, OUT = (
    [-0.5, -0.5, -0.5],
    [-0.1, -0.2, -0.3],
    [-0.5, -0.5, 0.5],
    [0.5, -0.5, -0.5],
    [3.0, 0.0, 0.0],
)
RENDER = bundle(
    [[A, A2, B, OUT], [B, C, A, A]],
    [[0.25, 0.25, 0.125, 0.25], [0.5, 0.0, 0.0625, 0.03125]],
)


def dense(operator: ViewOperator, num_elements: int = 8) -> torch.Tensor:
    return operator.bind(torch.arange(num_elements)).render(torch.eye(num_elements))


def random_operator(seed: int, rays: int = 6) -> ViewOperator:
    generator = torch.Generator().manual_seed(seed)
    positions = torch.rand(rays, 5, 3, generator=generator) * 2.4 - 1.2
    weights = torch.rand(rays, 5, generator=generator) / 5
    render = bundle(positions.tolist(), weights.tolist())
    return assemble([render], GRID, 0.01).bind(ALL_KEYS)


def test_matrix_by_hand() -> None:
    # Two samples in one voxel add up; outside the grid and weightless samples leave no entry.
    operator = assemble([RENDER], GRID, min_weight=0.0)
    expected = torch.zeros(2, 8)
    expected[0, LOW], expected[0, HIGH_Z] = 0.5, 0.125
    expected[1, HIGH_Z], expected[1, LOW] = 0.5, 0.09375
    torch.testing.assert_close(dense(operator), expected)
    assert operator.keys.tolist() == [LOW, HIGH_Z]
    assert operator.accumulation.tolist() == [0.625, 0.59375]
    assert operator.num_rays == 2


def test_pruning_uses_sums_per_ray_and_voxel() -> None:
    # Each of the samples is below 0.3, their sum is not; 0.125 and 0.09375 go.
    operator = assemble([RENDER], GRID, min_weight=0.3)
    expected = torch.zeros(2, 8)
    expected[0, LOW] = expected[1, HIGH_Z] = 0.5
    torch.testing.assert_close(dense(operator), expected)
    assert operator.accumulation.tolist() == [0.5, 0.5]


def test_pruning_keeps_the_limit_itself_and_may_empty_rays() -> None:
    assert dense(assemble([RENDER], GRID, min_weight=0.5)).sum() == 1.0
    empty = assemble([RENDER], GRID, min_weight=0.6).bind(ALL_KEYS)
    assert empty.render(torch.ones(8)).tolist() == [0.0, 0.0]
    assert empty.splat(torch.ones(2)).tolist() == [0.0] * 8
    assert empty.accumulation.tolist() == [0.0, 0.0]


def test_splat_by_hand() -> None:
    operator = assemble([RENDER], GRID, min_weight=0.0).bind(ALL_KEYS)
    splat = operator.splat(torch.tensor([2.0, 10.0]))
    assert splat[LOW] == pytest.approx(2 * 0.5 + 10 * 0.09375)
    assert splat[HIGH_Z] == pytest.approx(2 * 0.125 + 10 * 0.5)
    assert splat[[2, 3, 4, 5, 6, 7]].tolist() == [0.0] * 6
    local = operator.splat_local(torch.tensor([2.0, 10.0]))
    torch.testing.assert_close(splat[operator.element_ids], local)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), columns=st.integers(1, 3))
def test_splat_is_the_adjoint_of_render(seed: int, columns: int) -> None:
    operator = random_operator(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    v = torch.randn(8, columns, generator=generator)
    y = torch.randn(6, columns, generator=generator)
    forward = (operator.render(v) * y).sum(0)
    backward = (v * operator.splat(y)).sum(0)
    torch.testing.assert_close(forward, backward, rtol=1e-5, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), a=st.floats(-3, 3), b=st.floats(-3, 3))
def test_linearity(seed: int, a: float, b: float) -> None:
    operator = random_operator(seed)
    u, v = torch.randn(2, 8, generator=torch.Generator().manual_seed(seed))
    both = operator.render(a * u + b * v)
    torch.testing.assert_close(both, a * operator.render(u) + b * operator.render(v))


def test_several_columns_equal_single_ones() -> None:
    operator = random_operator(3)
    values, rays = torch.rand(8, 4), torch.rand(6, 4)
    rendered, splatted = operator.render(values), operator.splat(rays)
    assert rendered.shape == (6, 4)
    assert splatted.shape == (8, 4)
    for k in range(4):
        torch.testing.assert_close(rendered[:, k], operator.render(values[:, k]))
        torch.testing.assert_close(splatted[:, k], operator.splat(rays[:, k]))


def test_bundles_of_rays_are_one_view() -> None:
    halves = [
        replace(RENDER, **{k: v[i : i + 1] for k, v in vars(RENDER).items() if v is not None})
        for i in range(2)
    ]
    torch.testing.assert_close(
        dense(assemble(halves, GRID, 0.0)), dense(assemble([RENDER], GRID, 0.0))
    )


def test_chunks_do_not_change_a_view(still_life: AnalyticScene) -> None:
    camera, grid = spiral_camera(1, 12, (16, 12)), still_life.scene.grid
    whole, render = build_view_operator(still_life.field, camera, grid, min_weight=0.003)
    parts, same = build_view_operator(still_life.field, camera, grid, min_weight=0.003, chunk=37)
    assert whole.arrays().keys() == parts.arrays().keys()
    for name, values in whole.arrays().items():
        np.testing.assert_array_equal(values, parts.arrays()[name])
    torch.testing.assert_close(render.rgb, same.rgb)
    assert render.depth.shape == render.accumulation.shape == (12, 16)
    assert whole.num_rays == 192


def test_the_operator_renders_as_the_field(still_life: AnalyticScene) -> None:
    camera, grid = spiral_camera(1, 12, (16, 12)), still_life.scene.grid
    operator, render = build_view_operator(still_life.field, camera, grid, min_weight=0.0)
    torch.testing.assert_close(
        operator.accumulation, render.accumulation.reshape(-1), atol=2e-3, rtol=0
    )


def test_stored_operators_are_the_same(still_life: AnalyticScene, tmp_path: Path) -> None:
    operator = still_life.scene.prepared(0).operator
    save_arrays(tmp_path / "view.npz", operator.arrays())
    kinds = ViewOperator.array_kinds(operator.num_rays)
    voxels = still_life.scene.grid.resolution**3
    loaded = ViewOperator.from_arrays(load_arrays(tmp_path / "view.npz", kinds), voxels)
    for name in ("crow", "col", "weight", "keys"):
        assert torch.equal(getattr(loaded, name), getattr(operator, name))
    bound = loaded.bind(still_life.scene.elements.keys)
    values = torch.rand(len(still_life.scene.elements))
    assert torch.equal(bound.render(values), operator.render(values))


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        *(("crow", 0, 1), ("crow", -1, 0), ("crow", -1, 2**31 - 1), ("crow", 5, -1)),
        *(("crow", 5, 2**31 - 1), ("col", 3, -1), ("col", 3, 2**31 - 1), ("weight", 0, -1.0)),
        *(("keys", 0, -1), ("keys", 3, 0), ("keys", -1, 2**40)),
    ],
)
def test_arrays_that_would_be_read_outside_are_refused(
    still_life: AnalyticScene, name: str, place: int, value: float
) -> None:
    arrays = still_life.scene.prepared(0).operator.arrays()
    arrays[name] = arrays[name].copy()
    arrays[name][place] = value
    with pytest.raises(SA3DError, match="are not those of a view"):
        ViewOperator.from_arrays(arrays, still_life.scene.grid.resolution**3)


def test_unproject() -> None:
    rays = Rays(torch.tensor([[1.0, 0, 0]]), torch.tensor([[0.0, 0.0, -1.0]]))
    assert unproject(rays, torch.tensor([2.5])).tolist() == [[1.0, 0.0, -2.5]]


def test_products_are_the_same_with_any_number_of_threads() -> None:
    random = torch.Generator().manual_seed(0)
    rays, columns = 50_000, 25_000
    counts = torch.arange(rays) * 16 // rays  # MKL treats empty and full parts differently
    crow = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    col = torch.randint(0, columns, (int(crow[-1]),), generator=random)
    weight = torch.rand(len(col), generator=random)
    values = torch.rand(columns, 3, generator=random)
    per_ray = torch.rand(rays, 3, generator=random)
    before, products = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3, 5):
            torch.set_num_threads(number)
            operator = ViewOperator(crow, col, weight, torch.arange(columns))
            products.append((operator.render_local(values), operator.splat_local(per_ray)))
    finally:
        torch.set_num_threads(before)
    for rendered, splatted in products[1:]:
        assert torch.equal(rendered, products[0][0])
        assert torch.equal(splatted, products[0][1])
