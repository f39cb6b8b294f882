"""Tests of the extent of a lifted object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sa3d.evaluation.simulated_user import box_of
from sa3d.geometry.camera import Camera
from sa3d.loop.config import LoopConfig
from sa3d.loop.object_state import ObjectState
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import ViewRecord
from sa3d.testing.analytic_scene import AnalyticScene
from sa3d.voting.extent import Extent, beyond_clear_edges, object_surface


def test_outliers_do_not_stretch_the_extent() -> None:
    points = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0))
    points[:5] = 100.0
    extent = Extent.of(points)
    assert 0.9 < extent.size < 1.0


def test_grown_contains_by_hand() -> None:
    extent = Extent(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0])).grown(0.5)
    inside = extent.contains(torch.tensor([[-0.4, 2.4, 3.4], [-0.6, 1.0, 1.0], [0.5, 0.5, 3.6]]))
    assert inside.tolist() == [True, False, False]
    assert extent.size == 4.0


def test_own_surface_leaves_the_border_out(still_life: AnalyticScene) -> None:
    view = still_life.scene.prepared(0)
    mask = torch.from_numpy(still_life.masks["ball"][0]).reshape(-1)
    inner = object_surface(view, mask)
    assert 0 < len(inner) < int(mask.sum())
    single = torch.zeros_like(mask)
    single[int(mask.nonzero()[0])] = True
    assert len(object_surface(view, single)) == 1


@pytest.mark.parametrize("share", [6.0, 0.1], ids=["through a hole", "floater in front"])
def test_what_is_far_behind_or_before_is_no_part_of_the_surface(
    still_life: AnalyticScene, share: float
) -> None:
    view = still_life.scene.prepared(0)
    ball = view.mask_to_rays(still_life.masks["ball"][0]) > 0.5
    shape = (view.camera.height, view.camera.width)
    rows, columns = torch.nonzero(ball.reshape(shape), as_tuple=True)
    y, x = int(rows.float().mean()), int(columns.float().mean())
    patch = (slice(y - 1, y + 2), slice(x - 1, x + 2))
    points, depth = view.points_world.clone(), view.render.depth.clone()
    eye = view.camera.position
    points[patch] = eye + share * (points[patch] - eye)
    depth[patch] *= share
    other = replace(view, points_world=points, render=replace(view.render, depth=depth))
    size = Extent.of(object_surface(view, ball)).size
    assert Extent.of(points.reshape(-1, 3)[ball]).size > 2 * size
    assert Extent.of(object_surface(other, ball)).size < 1.05 * size


def test_a_surface_in_pieces_is_kept_whole(still_life: AnalyticScene) -> None:
    view = still_life.scene.prepared(0)
    ball = view.mask_to_rays(still_life.masks["ball"][0]) > 0.5
    points = view.points_world.clone()
    noise = torch.rand(points.shape, generator=torch.Generator().manual_seed(0))
    torn = replace(view, points_world=points + 20 * noise)
    assert len(object_surface(torn, ball)) == len(object_surface(view, ball))


def test_a_thin_thing_is_not_eroded_away(still_life: AnalyticScene) -> None:
    view = still_life.scene.prepared(0)
    shape = (view.camera.height, view.camera.width)
    thin = torch.zeros(shape, dtype=torch.bool)
    thin[shape[0] // 2 : shape[0] // 2 + 2, 4:-4] = True
    thin[shape[0] // 2 + 2, 10:13] = True  # three pixels that a border leaves one of
    assert len(object_surface(view, thin.reshape(-1))) > 10


PHOTO = Camera(torch.eye(4)[:3], fx=100.0, fy=100.0, cx=100.0, cy=50.0, width=200, height=100)
"""At the origin, looking along -z: a point (x, y, -1) is at pixel (100 + 100 x, 50 - 100 y)."""
AROUND = torch.tensor(
    [
        [0.0, 0.0, -1.0],  # in the middle
        [-1.1, 0.0, -1.0],  # beyond the left edge
        [1.1, 0.0, -1.0],  # the right one
        [0.0, 0.6, -1.0],  # the upper one
        [0.0, -0.6, -1.0],  # the lower one
        [0.0, 0.0, 1.0],  # behind the camera
    ]
)


@pytest.mark.parametrize(
    ("rows", "columns", "beyond"),
    [
        (slice(20, 80), slice(20, 180), [False, True, True, True, True, True]),
        (slice(20, 80), slice(0, 180), [False, False, True, True, True, True]),
        (slice(20, 80), slice(20, 199), [False, True, False, True, True, True]),
        (slice(20, 80), slice(20, 198), [False, True, True, True, True, True]),
        (slice(0, 80), slice(20, 180), [False, True, True, False, True, True]),
        (slice(20, 100), slice(20, 180), [False, True, True, True, False, True]),
        (slice(0, 0), slice(0, 0), [False] * 6),
    ],
    ids=["whole", "cut left", "nearly cut right", "whole right", "cut above", "below", "nothing"],
)
def test_an_object_does_not_go_on_beyond_an_edge_its_mask_leaves_clear(
    rows: slice, columns: slice, beyond: list[bool]
) -> None:
    mask = np.zeros((100, 200), dtype=bool)
    mask[rows, columns] = True
    assert beyond_clear_edges(PHOTO, mask, AROUND).tolist() == beyond


@pytest.mark.parametrize("how", ["mask", "box", "click"])
def test_a_box_or_a_mask_tells_where_the_object_ends(still_life: AnalyticScene, how: str) -> None:
    scene, ball = still_life.scene, still_life.masks["ball"][0]
    prompt = {
        "mask": Prompt(scene.views[0].name, "ball", mask=ball),
        "box": Prompt(scene.views[0].name, "ball", box=box_of(ball)),
        "click": Prompt(scene.views[0].name, "ball", points=((5.0, 5.0),), labels=(1,)),
    }[how]
    state = ObjectState.fresh(scene, LoopConfig(reach=100.0), [prompt])
    state.records[0] = ViewRecord("prompted", 1.0, 1.0, 4.0, ball, None, "user's prompt")
    state.cast_vote(0, state.vote_of(0))
    state.measure_extent()
    outside = ~scene.views[0].camera.in_image(scene.elements.positions_world)
    assert 0 < int(outside.sum()) < len(outside)
    if how == "click":
        assert not state.out_of_reach.any()
    else:
        assert torch.equal(state.out_of_reach, outside)
        assert (state.evidence.total[outside] > 0).all()
