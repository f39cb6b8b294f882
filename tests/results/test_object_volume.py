from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sa3d.base.errors import SA3DError
from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.segmentation import Segmentation
from sa3d.results.object_volume import _large_parts, _main_parts, cell_size, object_volume
from sa3d.testing.analytic_scene import BALL, CRATE, AnalyticScene


@pytest.mark.parametrize(("name", "shape"), [("ball", BALL), ("crate", CRATE)])
def test_inside_is_object_and_outside_is_not(
    still_life: AnalyticScene, voted: Segmentation, name: str, shape
) -> None:
    volume = object_volume(still_life.scene, voted, name)
    voxel = 2 / still_life.scene.grid.resolution
    points = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    distance = shape.signed_distance(points)
    share = volume.share_at(points)
    assert (share[distance < -voxel] > 0.5).float().mean() > 0.98
    assert (share[distance > 4 * voxel] < 0.5).all()
    other = (CRATE if shape is BALL else BALL).signed_distance(points)
    assert (share[other < -0.2 * voxel] < 0.5).all()


def test_dark_voxels_are_inside(still_life: AnalyticScene, voted: Segmentation) -> None:
    volume = object_volume(still_life.scene, voted, "ball")
    cells = torch.nonzero(volume.dark) + volume.corner
    centers = volume.grid.bounds.to_world((cells + 0.5) / volume.grid.resolution)
    assert len(cells) > 300
    assert (BALL.signed_distance(centers) < 0.025).all()


def test_share_at_voxel_centres_is_the_voxels_own(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    volume = object_volume(still_life.scene, voted, "crate")
    cells = torch.nonzero(volume.share >= 0)
    unit = (cells + volume.corner + 0.5) / volume.grid.resolution
    share = volume.share_at(volume.grid.bounds.to_world(unit))
    torch.testing.assert_close(share, volume.share.reshape(-1), atol=1e-4, rtol=0)


def test_stray_light_is_left_out(still_life: AnalyticScene, voted: Segmentation) -> None:
    evidence = voted.object("ball").evidence
    stray = Evidence(evidence.object.clone(), evidence.total.clone())
    corner = torch.tensor([-0.85, -0.85, -0.42])
    far = (still_life.scene.elements.positions_world - corner).norm(dim=-1) < 0.12
    assert far.any()
    stray.object[far] = stray.total[far] = 0.2
    ball = replace(voted.object("ball"), evidence=stray)
    volume = object_volume(still_life.scene, replace(voted, objects={"ball": ball}), "ball")
    clean = object_volume(still_life.scene, voted, "ball")
    assert volume.share.shape == clean.share.shape
    assert torch.equal(volume.corner, clean.corner)


def test_parts_are_connected_over_corners() -> None:
    cells = torch.tensor([[0, 0, 0], [0, 1, 1], [1, 2, 2], [9, 9, 9], [0, 0, 7]])
    light = torch.tensor([1.0, 1.0, 1.0, 0.01, 0.05])
    assert _large_parts(cells, light).tolist() == [True, True, True, False, False]
    light[4] = 0.5
    assert _large_parts(cells, light).tolist() == [True, True, True, False, True]


def test_haze_does_not_connect() -> None:
    cells = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3]])
    light = torch.tensor([1.0, 0.02, 0.02, 0.0])
    assert _main_parts(cells, light).tolist() == [True, False, False, False]
    assert _main_parts(cells, torch.ones(4)).all()


def test_shapes_of_positions_are_kept(still_life: AnalyticScene, voted: Segmentation) -> None:
    volume = object_volume(still_life.scene, voted, "ball")
    assert volume.share_at(torch.zeros(4, 5, 3)).shape == (4, 5)
    assert volume.share_at(torch.full((1, 3), 50.0)).tolist() == [0.0]


def test_cell_size(still_life: AnalyticScene) -> None:
    size = cell_size(still_life.scene.grid, torch.rand(5, 3))
    torch.testing.assert_close(size, torch.full((5,), 2 / still_life.scene.grid.resolution))


def test_unknown_object(still_life: AnalyticScene, voted: Segmentation) -> None:
    with pytest.raises(SA3DError, match="no object 'cat'"):
        object_volume(still_life.scene, voted, "cat")
