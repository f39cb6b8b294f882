from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from sa3d.export.triangle_mesh import Mesh
from sa3d.geometry.camera import Camera
from sa3d.report.mesh_pictures import MeshPictures

CAMERA = Camera(
    torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4]]), 60.0, 60.0, 32.0, 32.0, 64, 64
)
"""Looks down at the origin from z = 4; there a unit is 15 pixels."""


def colored(solid: trimesh.Trimesh, color: tuple[int, int, int]) -> Mesh:
    vertices, faces = np.asarray(solid.vertices), np.asarray(solid.faces)
    return Mesh(vertices, faces, colors=np.tile(np.array(color, np.uint8), (len(vertices), 1)))


def test_a_ball_is_a_disc_brightest_in_the_middle() -> None:
    picture = MeshPictures(colored(trimesh.creation.icosphere(4, 1.0), (200, 100, 0))).draw(CAMERA)
    radius = 60 / np.sqrt(4**2 - 1)  # of a ball's outline, in pixels
    assert (picture[..., 3] > 127).sum() == pytest.approx(
        np.pi * radius**2, rel=0.08
    )  # a touched quarter counts
    np.testing.assert_allclose(picture[32, 32], [200, 100, 0, 255], atol=4)
    assert picture[32, 32 + 14, 0] < 170
    assert (picture[0, 0] == 0).all()


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
    picture = MeshPictures(both).draw(CAMERA)
    assert picture[32, 32, 2] > 200 > 50 > picture[32, 32, 0]
    assert picture[32, 32 + 14, 0] > 100 > 50 > picture[32, 32 + 14, 2]


def test_the_inside_of_a_shell_is_not_drawn() -> None:
    solid = trimesh.creation.icosphere(2, 1.0)
    solid.invert()
    assert MeshPictures(colored(solid, (9, 9, 9))).draw(CAMERA)[20:44, 20:44, 3].max() == 255
    near = np.asarray(solid.triangles_center)[:, 2] > 0.3  # which faces away
    solid.update_faces(near)
    assert MeshPictures(colored(solid, (9, 9, 9))).draw(CAMERA)[..., 3].max() == 0


def test_a_texture_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="colors per vertex"):
        MeshPictures(Mesh(np.zeros((3, 3)), np.zeros((1, 3), int)))
