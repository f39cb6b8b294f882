from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sa3d.geometry.bounds import Bounds

KINDS = ["box", "contracted", "contracted-l2"]
AABB = ((-2.0, -1.0, 0.0), (2.0, 3.0, 1.0))
coordinate = st.floats(-40, 40, allow_nan=False, width=32)
points = st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=1, max_size=20)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(world=points)
def test_world_to_unit_and_back(kind, world) -> None:
    bounds = Bounds(kind, AABB)
    positions = torch.tensor(world, dtype=torch.float64)
    unit = bounds.to_unit(positions)
    if kind != "box":
        assert ((unit >= 0) & (unit <= 1)).all()
    torch.testing.assert_close(bounds.to_world(unit), positions, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(unit=st.lists(st.tuples(*[st.floats(0.01, 0.99)] * 3), min_size=1, max_size=20))
def test_unit_to_world_and_back(kind, unit) -> None:
    bounds = Bounds(kind, AABB)
    positions = torch.tensor(unit, dtype=torch.float64)
    if kind == "contracted-l2":  # its image is a ball inside the cube
        radius = (positions * 4 - 2).norm(dim=-1)
        positions = positions[radius < 1.98]
    torch.testing.assert_close(
        bounds.to_unit(bounds.to_world(positions)), positions, rtol=1e-9, atol=1e-9
    )


def test_box_by_hand() -> None:
    bounds = Bounds("box", AABB)
    unit = bounds.to_unit(torch.tensor([[0.0, 0.0, 0.25], [4.0, 3.0, -1.0]]))
    assert unit.tolist() == [[0.5, 0.25, 0.25], [1.5, 1.0, -1.0]]


@pytest.mark.parametrize(
    ("kind", "point", "expected"),
    [
        # Inside the unit ball nothing moves but the scale: x / 4 + 1 / 2.
        ("contracted", (0.4, -0.8, 1.0), (0.6, 0.3, 0.75)),
        ("contracted-l2", (0.0, 0.6, 0.8), (0.5, 0.65, 0.7)),
        # |x|_inf = 4: (2 - 1/4) x / 4.
        ("contracted", (4.0, 2.0, 0.0), (1.75 / 4 + 0.5, 0.875 / 4 + 0.5, 0.5)),
        # |x|_2 = 5: (2 - 1/5) x / 5.
        ("contracted-l2", (3.0, 4.0, 0.0), (1.08 / 4 + 0.5, 1.44 / 4 + 0.5, 0.5)),
    ],
)
def test_contraction_by_hand(kind, point, expected) -> None:
    unit = Bounds(kind).to_unit(torch.tensor([point]))
    assert unit[0].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_infinity_is_clamped(kind) -> None:
    world = Bounds(kind).to_world(torch.tensor([[1.0, 0.5, 0.5], [0.0, 0.5, 0.5]]))
    assert torch.isfinite(world).all()
    assert world[:, 0].tolist() == pytest.approx([1e6, -1e6], rel=0.2)


def test_shapes_are_kept() -> None:
    assert Bounds("contracted").to_unit(torch.zeros(2, 3, 4, 3)).shape == (2, 3, 4, 3)
