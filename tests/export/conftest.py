"""Objects that cameras see from all around, to measure exports."""

from __future__ import annotations

import numpy as np
import pytest

from sa3d.objects.segmentation import Segmentation
from sa3d.testing.analytic_fields import Box, Sphere
from sa3d.testing.analytic_scene import AnalyticScene, analytic_scene, voted_segmentation

FLOATING_BALL = Sphere((0.3, 0.3, 0.45), 0.3)
FLOATING_CRATE = Box((-0.6, -0.5, 0.15), (-0.1, -0.1, 0.45))


@pytest.fixture(scope="session")
def floating(tmp_path_factory: pytest.TempPathFactory) -> AnalyticScene:
    """A ball and a crate in empty space, twelve views, prepared. Do not change it."""
    folder = tmp_path_factory.mktemp("floating")
    shapes = {"ball": FLOATING_BALL, "crate": FLOATING_CRATE}
    return analytic_scene(folder, shapes, size=(128, 96), resolution=96)


@pytest.fixture(scope="session")
def floating_voted(floating: AnalyticScene) -> Segmentation:
    """Ball and crate, segmented with exact masks. Do not change it."""
    return voted_segmentation(floating.scene, floating.masks)


@pytest.fixture(scope="session")
def floating_bounds() -> dict[str, np.ndarray]:
    """Lowest and highest corner of every floating object in the world, [2, 3]."""
    center, radius = np.array(FLOATING_BALL.center), FLOATING_BALL.radius
    return {
        "ball": np.array([center - radius, center + radius]),
        "crate": np.array([FLOATING_CRATE.low, FLOATING_CRATE.high]),
    }
