from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from sa3d.export.box import object_box
from sa3d.export.mesh_files import Mesh
from sa3d.geometry.camera import Camera
from sa3d.objects.segmentation import Segmentation
from sa3d.report.turntable import MeshRenderer, animated_webp, turntable_cameras
from sa3d.results.rendering import ObjectRenderer
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


def test_turntable_swings_where_cameras_are(still_life: AnalyticScene, voted: Segmentation) -> None:
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
    renderer = ObjectRenderer(still_life.scene, voted, "ball")
    box = object_box(still_life.scene, voted, "ball")
    frames = [
        renderer.from_camera(c, "object") for c in turntable_cameras(still_life.scene, box, 3, 24)
    ]
    for pixels in frames:
        assert pixels[12, 12, 3] > 250
        assert pixels[0, 0, 3] == 0
        assert abs(pixels[12, 12, :3] / 255 - np.array(BALL.color)).max() < 0.05
    with Image.open(io.BytesIO(animated_webp(frames))) as moving:
        assert (moving.format, moving.size, moving.info["loop"]) == ("WEBP", (24, 24), 0)


CAMERA = Camera(
    torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4]]), 60.0, 60.0, 32.0, 32.0, 64, 64
)
"""A camera at z = 4 that looks down at the origin; one unit is 15 pixels there."""


def colored(solid: trimesh.Trimesh, color: tuple[int, int, int]) -> Mesh:
    vertices, faces = np.asarray(solid.vertices), np.asarray(solid.faces)
    return Mesh(vertices, faces, colors=np.tile(np.array(color, np.uint8), (len(vertices), 1)))


def test_a_ball_is_a_disc_brightest_in_the_middle() -> None:
    image = MeshRenderer(colored(trimesh.creation.icosphere(4, 1.0), (200, 100, 0))).draw(CAMERA)
    radius = 60 / np.sqrt(4**2 - 1)  # of a ball's outline, in pixels
    assert (image[..., 3] > 127).sum() == pytest.approx(
        np.pi * radius**2, rel=0.08
    )  # partly covered pixels count
    np.testing.assert_allclose(image[32, 32], [200, 100, 0, 255], atol=4)
    assert image[32, 32 + 14, 0] < 170
    assert (image[0, 0] == 0).all()


def test_what_is_nearer_hides_what_is_behind() -> None:
    near = trimesh.creation.icosphere(3, 0.5)
    near.apply_translation([0, 0, 1.5])
    far = trimesh.creation.icosphere(3, 1.0)
    one, two = colored(near, (0, 0, 250)), colored(far, (250, 0, 0))
    both = Mesh(
        np.concatenate([one.vertices, two.vertices]),
        np.concatenate([one.faces, two.faces + len(one.vertices)]),
        colors=np.concatenate([one.colors, two.colors]),  # type: ignore[list-item]
    )
    image = MeshRenderer(both).draw(CAMERA)
    assert image[32, 32, 2] > 200 > 50 > image[32, 32, 0]
    assert image[32, 32 + 14, 0] > 100 > 50 > image[32, 32 + 14, 2]


def test_the_inside_of_a_shell_is_not_drawn() -> None:
    solid = trimesh.creation.icosphere(2, 1.0)
    solid.invert()
    assert MeshRenderer(colored(solid, (9, 9, 9))).draw(CAMERA)[20:44, 20:44, 3].max() == 255
    near = np.asarray(solid.triangles_center)[:, 2] > 0.3  # which faces away
    solid.update_faces(near)
    assert MeshRenderer(colored(solid, (9, 9, 9))).draw(CAMERA)[..., 3].max() == 0


def test_a_texture_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="colors per vertex"):
        MeshRenderer(Mesh(np.zeros((3, 3)), np.zeros((1, 3), int)))
