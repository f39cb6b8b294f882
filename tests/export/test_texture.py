from __future__ import annotations

import numpy as np
import pytest
import trimesh

from sa3d.export.texture import Atlas, covered_texels, painted, unfolded


def test_texels_of_one_triangle_by_hand() -> None:
    atlas = Atlas(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([[0, 1, 2]]), (4, 4))
    texels = covered_texels(atlas)  # v runs upward: the right angle is at the lower left
    rows, columns = np.divmod(texels.index, 4)
    assert len(texels.index) == 10  # four centers are on the long side
    assert (columns <= rows).all()
    lower_left = np.flatnonzero(texels.index == 12)[0]
    np.testing.assert_allclose(texels.share[lower_left], [0.75, 0.125, 0.125])
    values = texels.interpolated(np.array([[0, 1, 2]]), np.array([[0.0], [8.0], [0.0]]))
    np.testing.assert_allclose(values[lower_left], [1.0])  # half a texel to the right


def test_degenerate_faces_cover_nothing() -> None:
    uv = np.array([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    atlas = Atlas(uv, np.array([[0, 1, 2], [0, 3, 1]]), (4, 4))
    assert set(covered_texels(atlas).face) == {1}


@pytest.fixture(scope="module")
def torus() -> trimesh.Trimesh:
    return trimesh.creation.torus(1.0, 0.3, major_sections=32, minor_sections=16)


def test_every_face_has_texels_of_its_own_that_lie_on_it(torus: trimesh.Trimesh) -> None:
    vertices, faces = np.asarray(torus.vertices), np.asarray(torus.faces)
    atlas = unfolded(vertices, faces, 256)
    assert max(atlas.size) == pytest.approx(256, rel=0.3)
    assert atlas.uv.min() >= 0
    assert atlas.uv.max() <= 1
    texels = covered_texels(atlas)
    assert set(texels.face) == set(range(len(faces)))
    assert len(np.unique(texels.index)) == len(texels.index)
    points = texels.interpolated(faces, vertices)
    distance = np.hypot(np.hypot(points[:, 0], points[:, 1]) - 1, points[:, 2])
    np.testing.assert_allclose(distance, 0.3, atol=0.012)


def test_colors_continue_beyond_the_charts() -> None:
    image = painted((2, 4), np.array([0, 3]), np.array([[10, 0, 0], [0, 20, 0]], np.uint8))
    assert image[:, :2, 0].tolist() == [[10, 10], [10, 10]]
    assert image[:, 2:, 1].tolist() == [[20, 20], [20, 20]]
