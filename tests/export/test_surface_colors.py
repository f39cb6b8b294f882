from __future__ import annotations

import numpy as np
import pytest

from sa3d.export.config import ColorSource
from sa3d.export.surface_colors import surface_colors
from sa3d.objects.segmentation import Segmentation
from sa3d.results.object_volume import object_volume
from sa3d.testing.analytic_scene import BALL, CRATE, AnalyticScene


@pytest.mark.parametrize("source", ["photos", "nerf"])
@pytest.mark.parametrize("name", ["ball", "crate"])
def test_own_color_everywhere(
    still_life: AnalyticScene, voted: Segmentation, name: str, source: ColorSource
) -> None:
    """Points below are included for photos; the field shows the table there."""
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(200, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    positions = BALL.center + BALL.radius * normals
    if name == "crate":
        axis = np.eye(3)[np.abs(normals).argmax(axis=1)] * np.sign(normals)
        low, high = np.array(CRATE.low), np.array(CRATE.high)
        positions = np.where(axis == 0, rng.uniform(low, high, (200, 3)), 0)
        positions = np.where(axis > 0, high, np.where(axis < 0, low, positions))
        normals = axis
    volume = object_volume(still_life.scene, voted, name)
    rgb = surface_colors(still_life.scene, voted, name, volume, positions, normals, source)
    color = (BALL if name == "ball" else CRATE).color
    assert rgb.dtype == np.uint8
    checked = positions[:, 2] > (-1 if source == "photos" else -0.35)
    assert checked.sum() > 100
    assert np.abs(rgb[checked] / 255 - color).max() < 0.05
