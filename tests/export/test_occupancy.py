from __future__ import annotations

import numpy as np
import pytest

from sa3d.export.occupancy import Occupancy, occupancy
from sa3d.export.surface import surface_points
from sa3d.objects.segmentation import Segmentation
from sa3d.results.object_volume import object_volume
from sa3d.testing.analytic_scene import BALL, AnalyticScene


@pytest.fixture(scope="module")
def ball(still_life: AnalyticScene, voted: Segmentation) -> Occupancy:
    volume = object_volume(still_life.scene, voted, "ball")
    points = surface_points(still_life.scene, voted, "ball", volume)
    return occupancy(still_life.scene, volume, points, per_voxel=2.0)


def test_full_inside_and_empty_outside(ball: Occupancy) -> None:
    shape = np.array(ball.shape)
    values = ball.sample(0 * shape, shape)
    lattice = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = ball.to_world(lattice.astype(float)).numpy()
    outside = np.linalg.norm(world - BALL.center, axis=-1) - BALL.radius
    voxel = 2 / ball.share.grid.resolution
    above = world[..., 2] > -0.3  # the table is below
    assert values.shape == ball.shape
    assert (values[above & (outside < -voxel)] > 0.5).mean() > 0.99
    assert values[above & (outside > voxel)].max() < 0.5


def test_a_part_of_the_lattice_equals_that_of_the_whole(ball: Occupancy) -> None:
    whole = ball.sample(np.zeros(3, int), np.array(ball.shape))
    part = ball.sample(np.array([3, 9, 7]), np.array([20, 19, 24]))
    np.testing.assert_allclose(part, whole[3:20, 9:19, 7:24], atol=1e-5)
