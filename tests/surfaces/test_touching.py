from __future__ import annotations

import torch

from sa3d.surfaces.touching import Surface, build_lattice, clusters

RED, GREEN = (0.8, 0.1, 0.1), (0.1, 0.6, 0.2)
CELL = 0.1


def ball(x: float, z: float, radius: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Points evenly on a sphere around (x, 0, z), and the normals there."""
    count = 20_000
    index = torch.arange(count) + 0.5
    polar, turn = torch.arccos(1 - 2 * index / count), torch.pi * (1 + 5**0.5) * index
    normals = torch.stack([turn.cos() * polar.sin(), turn.sin() * polar.sin(), polar.cos()], dim=-1)
    return normals * radius + torch.tensor([x, 0.0, z]), normals


def parted(*balls: tuple[float, float, float, tuple[float, float, float]]) -> int:
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
    assert parted((0, 1, 1, RED)) == 1


def test_balls_apart_are_two() -> None:
    assert parted((0, 1, 1, RED), (2.5, 1, 1, RED)) == 2


def test_balls_that_touch_are_parted_though_they_look_alike() -> None:
    assert parted((0, 1, 1, RED), (1.95, 1, 1, RED)) == 2


def test_a_part_in_the_air_stays_with_what_holds_it() -> None:
    assert parted((0, 1, 1, RED), (1.45, 1.2, 0.5, RED)) == 1  # a handle of its color
    assert parted((0, 1, 1, RED), (0, 2.4, 0.5, GREEN)) == 1  # a hat of another


def test_a_part_without_a_foot_stands_if_nothing_carries_it_and_its_color_is_its_own() -> None:
    assert parted((0, 1, 1, RED), (1.7, 1.3, 0.8, GREEN)) == 2


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
