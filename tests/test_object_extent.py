"""Extents of what was lifted."""

from __future__ import annotations

import torch

from sa3d.object_extent import Extent, inner_surface
from sa3d.testing.analytic_scene import AnalyticScene


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


def test_inner_surface_leaves_the_border_out(still_life: AnalyticScene) -> None:
    view = still_life.scene.prepared(0)
    mask = torch.from_numpy(still_life.masks["ball"][0]).reshape(-1)
    inner = inner_surface(view, mask)
    assert 0 < len(inner) < int(mask.sum())
    single = torch.zeros_like(mask)
    single[int(mask.nonzero()[0])] = True
    assert len(inner_surface(view, single)) == 1


def test_what_shows_through_a_handle_does_not_stretch_the_extent() -> None:
    generator = torch.Generator().manual_seed(0)
    mug = torch.rand(950, 3, generator=generator)
    table_behind = torch.rand(50, 3, generator=generator) + torch.tensor([5.0, 0.0, 0.0])
    assert Extent.of(torch.cat([mug, table_behind])).size < 1.0


def test_a_long_thin_part_belongs_to_the_extent() -> None:
    foot = torch.rand(500, 3, generator=torch.Generator().manual_seed(0))
    stick = torch.zeros(500, 3)
    stick[:, 2] = torch.linspace(1, 4, 500)
    assert Extent.of(torch.cat([foot, stick])).size > 3.5
