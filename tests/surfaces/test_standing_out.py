from __future__ import annotations

import numpy as np
import pytest
import torch

from sa3d.evaluation.stages import iou
from sa3d.surfaces.config import StandingOutConfig
from sa3d.surfaces.standing_out import (
    Surface,
    build_lattice,
    clusters,
    find_planes,
    find_standing_out,
    grow_clusters,
)
from sa3d.testing.analytic_scene import AnalyticScene


def table_with_noise() -> torch.Tensor:
    """4000 points on z = 0.5, and 1000 anywhere above it."""
    random = torch.Generator().manual_seed(1)
    flat = torch.rand(4000, 3, generator=random)
    flat[:, 2] = 0.5 + 0.001 * torch.randn(4000, generator=random)
    return torch.cat([flat, torch.rand(1000, 3, generator=random) + torch.tensor([0, 0, 0.51])])


def test_a_table_is_found_with_the_cameras_above_it() -> None:
    cameras = torch.tensor([[0.0, 0.0, 2.0], [1.0, 0.0, 3.0]])
    planes = find_planes(table_with_noise(), cameras, StandingOutConfig(), 0.01)
    assert len(planes) == 1
    torch.testing.assert_close(planes[0].normal, torch.tensor([0.0, 0.0, 1.0]), atol=1e-2, rtol=0)
    assert planes[0].offset == pytest.approx(0.5, abs=0.005)
    torch.testing.assert_close(
        planes[0].height(torch.tensor([0.5, 0.5, 1.5])), torch.tensor(1.0), atol=0.01, rtol=0
    )


def test_a_plane_seen_from_both_sides_supports_nothing() -> None:
    cameras = torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, -2.0]])
    assert find_planes(table_with_noise(), cameras, StandingOutConfig(), 0.01) == []


def test_a_scene_without_any_opaque_surface_has_no_planes() -> None:
    cameras = torch.tensor([[0.0, 0.0, 2.0]])
    assert find_planes(torch.zeros(0, 3), cameras, StandingOutConfig(), 0.01) == []


def test_ball_and_crate_stand_out_from_the_table(still_life: AnalyticScene) -> None:
    found = find_standing_out(still_life.scene, StandingOutConfig())
    assert len(found.planes) >= 1
    ious = []
    for index, labels in enumerate(found.clusters):
        camera = still_life.scene.views[index].camera
        large = torch.nn.functional.interpolate(
            (labels >= 0)[None, None].float(), (camera.height, camera.width), mode="nearest"
        )[0, 0].numpy()
        exact = still_life.masks["ball"][index] | still_life.masks["crate"][index]
        ious.append(iou(large > 0.5, exact))
    assert np.median(ious) > 0.7


RED, GREEN = (0.8, 0.1, 0.1), (0.1, 0.6, 0.2)
CELL = 0.1


def ball(x: float, z: float, radius: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Points evenly on a sphere around (x, 0, z), and the normals there."""
    count = 20_000
    index = torch.arange(count) + 0.5
    polar, turn = torch.arccos(1 - 2 * index / count), torch.pi * (1 + 5**0.5) * index
    normals = torch.stack([turn.cos() * polar.sin(), turn.sin() * polar.sin(), polar.cos()], dim=-1)
    return normals * radius + torch.tensor([x, 0.0, z]), normals


def num_clusters(*balls: tuple[float, float, float, tuple[float, float, float]]) -> int:
    """Number of clusters of balls (x, z, radius, color) on a table at z = 0."""
    made = [ball(*one[:3]) for one in balls]
    points, normals = torch.cat([p for p, _ in made]), torch.cat([n for _, n in made])
    colors = torch.cat([torch.tensor(one[3]).expand(20_000, 3) for one in balls])
    lattice = build_lattice(
        points, torch.ones(len(points), dtype=torch.bool), torch.zeros(len(points)).long(), CELL, 1
    )
    positions = lattice.mean(points)
    flat = torch.floor(positions[:, :2] / (2 * CELL))
    surface = Surface(
        positions=positions,
        normals=lattice.mean(normals),
        colors=lattice.mean(colors),
        heights=positions[:, 2],
        columns=torch.unique(flat, dim=0, return_inverse=True)[1],
        grounded=positions[:, 2] < 2 * CELL,
    )
    return len(clusters(lattice, surface).unique())


def test_a_ball_is_one_cluster() -> None:
    assert num_clusters((0, 1, 1, RED)) == 1


def test_balls_apart_are_two() -> None:
    assert num_clusters((0, 1, 1, RED), (2.5, 1, 1, RED)) == 2


def test_balls_that_touch_are_two_clusters_even_if_they_look_alike() -> None:
    assert num_clusters((0, 1, 1, RED), (1.95, 1, 1, RED)) == 2


def test_a_part_in_the_air_stays_with_its_carrier() -> None:
    assert num_clusters((0, 1, 1, RED), (1.45, 1.2, 0.5, RED)) == 1  # a handle of the same color
    assert num_clusters((0, 1, 1, RED), (0, 2.4, 0.5, GREEN)) == 1  # a hat of another color


def test_a_part_without_a_foot_stands_if_nothing_carries_it_and_its_color_is_its_own() -> None:
    assert num_clusters((0, 1, 1, RED), (1.7, 1.3, 0.8, GREEN)) == 2


def test_an_empty_lattice_has_no_clusters() -> None:
    nothing = torch.zeros(0, 3)
    lattice = build_lattice(nothing, nothing[:, 0] > 0, nothing[:, 0].long(), CELL, 1)
    surface = Surface(
        nothing, nothing, nothing, nothing[:, 0], nothing[:, 0].long(), nothing[:, 0] > 0
    )
    assert len(clusters(lattice, surface)) == 0


def test_cells_seen_in_too_few_views_are_left_out() -> None:
    points = torch.tensor([[0.05, 0.05, 0.05], [0.06, 0.05, 0.05], [0.95, 0.05, 0.05]])
    lattice = build_lattice(
        points, torch.ones(3, dtype=torch.bool), torch.tensor([0, 1, 0]), CELL, 2
    )
    assert lattice.of_point.tolist() == [0, 0, -1]
    torch.testing.assert_close(lattice.mean(points), points[:2].mean(dim=0, keepdim=True))


BLACK, BROWN = torch.tensor([0.05, 0.05, 0.05]), torch.tensor([0.6, 0.4, 0.2])


def candlestick() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A black stem (cluster 0) over a black foot on a brown table, and a black stain far off."""
    rgb = BROWN.expand(40, 40, 3).clone()
    stem, foot, stain = torch.zeros(3, 40, 40, dtype=torch.bool)
    stem[8:20, 19:22] = True
    foot[20:23, 15:26] = True
    stain[21:23, 36:38] = True
    rgb[stem | foot | stain] = BLACK
    return rgb, torch.where(stem, 0, -1), foot | stain


def test_a_foot_joins_its_stem_and_a_stain_does_not() -> None:
    rgb, clusters, dark = candlestick()
    doubtful = clusters < 0  # the whole table
    grown = grow_clusters([clusters], [rgb], [doubtful])[0]
    wanted = torch.where(dark, 0, clusters)
    wanted[21:23, 36:38] = -1
    torch.testing.assert_close(grown, wanted)


def test_pixels_without_doubt_do_not_change() -> None:
    rgb, clusters, _ = candlestick()
    grown = grow_clusters([clusters], [rgb], [torch.zeros_like(clusters, dtype=torch.bool)])[0]
    torch.testing.assert_close(grown, clusters)


def test_a_bump_of_the_tables_color_does_not_grow() -> None:
    clusters = torch.full((40, 40), -1)
    clusters[10:14, 10:14] = 0
    rgb = BROWN.expand(40, 40, 3)
    torch.testing.assert_close(grow_clusters([clusters], [rgb], [clusters < 0])[0], clusters)


def test_the_likelier_of_two_neighbours_takes_a_pixel() -> None:
    rgb = BROWN.expand(20, 30, 3).clone()
    clusters = torch.full((20, 30), -1)
    clusters[5:15, 4:13] = 0
    clusters[5:15, 16:25] = 1
    red = torch.tensor([0.9, 0.1, 0.1])
    rgb[5:15, 4:15] = BLACK  # two columns more than cluster 0
    rgb[5:15, 15:25] = red  # and one column more than cluster 1
    grown = grow_clusters([clusters], [rgb], [clusters < 0])[0]
    assert (grown[5:15, 4:15] == 0).all()
    assert (grown[5:15, 15:25] == 1).all()


def test_without_clusters_nothing_grows() -> None:
    empty = torch.full((4, 5), -1)
    torch.testing.assert_close(grow_clusters([empty], [torch.rand(4, 5, 3)], [empty < 0])[0], empty)
