from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from sa3d.export.box import object_box
from sa3d.objects.segmentation import Segmentation
from sa3d.report.turntable import animated_webp, turntable_cameras
from sa3d.results.rendering import ViewPicture
from sa3d.scene.scene import Scene
from sa3d.testing.analytic_scene import BALL, AnalyticScene


def test_turntable_goes_all_around_at_the_cameras_height(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    box = object_box(still_life.scene, voted, "ball")
    cameras = turntable_cameras(still_life.scene, box, 8, 32)
    offsets = torch.stack([camera.position for camera in cameras]) - torch.tensor(BALL.center)
    azimuths = torch.atan2(offsets[:, 1], offsets[:, 0]).sort().values
    np.testing.assert_allclose(azimuths.diff().numpy(), 2 * math.pi / 8, atol=0.2)
    assert (offsets[:, 2] > 0.5).all()
    for camera in cameras:
        pixels, z = camera.project(torch.tensor(box.center[None], dtype=torch.float32))
        np.testing.assert_allclose(pixels.numpy(), [[16, 16]], atol=1e-3)
        corners, _ = camera.project(torch.tensor(box.corners, dtype=torch.float32))
        assert float(z) > 0
        assert corners.min() > -1
        assert corners.max() < 33


def test_turntable_swings_where_photographs_are(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    scene = still_life.scene
    front = Scene(scene.field, scene.views[:4], scene.cache.parent, scene.config)
    box = object_box(scene, voted, "ball")
    offsets = torch.stack([c.position for c in turntable_cameras(front, box, 10, 8)])
    offsets -= torch.tensor(box.center).float()
    seen = torch.stack([view.camera.position for view in front.views])
    seen = seen - torch.tensor(box.center).float()
    angles = torch.atan2(offsets[:, 1], offsets[:, 0])
    given = torch.atan2(seen[:, 1], seen[:, 0])
    assert angles.min() >= given.min() - 1e-3
    assert angles.max() <= given.max() + 1e-3
    assert float(angles[0]) == pytest.approx(float(given.min()), abs=1e-3)
    assert float(angles[5]) == pytest.approx(float(given.max()), abs=1e-3)


def test_turntable_shows_the_object_alone(still_life: AnalyticScene, voted: Segmentation) -> None:
    picture = ViewPicture(still_life.scene, voted, "ball")
    box = object_box(still_life.scene, voted, "ball")
    frames = [picture.free(c, "object") for c in turntable_cameras(still_life.scene, box, 3, 24)]
    for pixels in frames:
        assert pixels[12, 12, 3] > 250
        assert pixels[0, 0, 3] == 0
        assert abs(pixels[12, 12, :3] / 255 - np.array(BALL.color)).max() < 0.05
    with Image.open(io.BytesIO(animated_webp(frames))) as moving:
        assert (moving.format, moving.size, moving.info["loop"]) == ("WEBP", (24, 24), 0)
