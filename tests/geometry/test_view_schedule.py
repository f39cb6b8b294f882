from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sa3d.geometry.view_schedule import camera_distances, farthest_views, outward_order
from sa3d.testing.analytic_scene import look_at


def ring(degrees: list[float]) -> list:
    return [
        look_at((math.cos(math.radians(a)), math.sin(math.radians(a)), 0.2), (0, 0, 0), (4, 3))
        for a in degrees
    ]


def test_distances() -> None:
    distances = camera_distances(ring([0, 90, 180, 270]))
    torch.testing.assert_close(distances, distances.T)
    assert distances.diagonal().abs().max() < 1e-3
    assert distances[0, 1] < distances[0, 2]
    assert distances[0, 1].item() == pytest.approx(distances[0, 3].item(), rel=1e-4)


def test_directions_count() -> None:
    ahead, away = (
        look_at((1.0, 0.0, 0.0), target, (4, 3)) for target in ((0.0, 0.0, 0.0), (2.0, 0.0, 0.0))
    )
    other = look_at((0.0, 1.0, 0.0), (0.0, 0.0, 0.0), (4, 3))
    assert camera_distances([ahead, away, other])[0, 1].item() == pytest.approx(math.pi, abs=1e-2)


def test_neighbours_come_first() -> None:
    cameras = ring([0, 180, 20, 45, 330, 100])
    assert outward_order(cameras, [0]) == [2, 3, 4, 5, 1]
    assert outward_order(cameras, [0, 1]) == [2, 3, 4, 5]


def test_start_may_hold_all_views() -> None:
    assert outward_order(ring([0, 90]), [1, 0]) == []
    with pytest.raises(ValueError, match="at least one"):
        outward_order(ring([0, 90]), [])


@settings(max_examples=25, deadline=None)
@given(
    degrees=st.lists(st.floats(0, 360), min_size=1, max_size=9),
    start=st.sets(st.integers(0, 8), min_size=1),
)
def test_the_order_holds_every_other_view_once(degrees: list[float], start: set[int]) -> None:
    given_views = sorted({index % len(degrees) for index in start})
    order = outward_order(ring(degrees), given_views)
    assert sorted(order + given_views) == list(range(len(degrees)))


@pytest.mark.parametrize("scale", [0.01, 1000.0])
def test_the_order_does_not_depend_on_scale(scale: float) -> None:
    cameras = ring([0, 180, 20, 45, 330, 100])
    scaled = [
        type(c)(**(vars(c) | {"c2w": torch.cat([c.c2w[:, :3], c.c2w[:, 3:] * scale], dim=1)}))
        for c in cameras
    ]
    assert outward_order(scaled, [0]) == outward_order(cameras, [0])


def test_farthest_views_by_hand() -> None:
    places = torch.tensor([0.0, 1.0, 4.0, 10.0, 9.0])
    distances = (places[:, None] - places).abs()
    assert farthest_views(distances, range(5), 3) == [0, 3, 2]
    assert farthest_views(distances, [1, 2, 4], 3, start=[3]) == [3, 1, 2]
    assert farthest_views(distances, [1], 9, start=[3]) == [3, 1]
    assert farthest_views(distances, range(5), 1, start=[3, 2]) == [3]
