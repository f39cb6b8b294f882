from __future__ import annotations

import numpy as np
import pytest
import torch

from sa3d.evaluation.stages import iou
from sa3d.surfaces.config import StandingOutConfig
from sa3d.surfaces.standing_out import find_planes, find_standing_out
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
