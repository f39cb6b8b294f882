from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import trimesh

from sa3d.export.mesh_cleanup import (
    compact,
    decimated,
    mesh_report,
    smoothed,
    solid_parts,
    vertex_normals,
)


def ball(center: Sequence[float] = (0, 0, 0), radius: float = 1.0) -> trimesh.Trimesh:
    made = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    made.apply_translation(center)
    return made


def together(*meshes: trimesh.Trimesh) -> tuple[np.ndarray, np.ndarray]:
    one = trimesh.util.concatenate(list(meshes))
    return np.asarray(one.vertices), np.asarray(one.faces)


def test_report_of_a_box_and_of_a_torn_one() -> None:
    box = trimesh.creation.box(extents=(1, 2, 3))
    report = mesh_report(np.asarray(box.vertices) + 50, np.asarray(box.faces))
    assert (report.vertices, report.faces, report.euler, report.components) == (8, 12, 2, 1)
    assert report.watertight
    assert (report.volume, report.area) == (pytest.approx(6), pytest.approx(22))
    assert not mesh_report(np.asarray(box.vertices), np.asarray(box.faces)[1:]).watertight
    two = mesh_report(*together(box, ball((9, 0, 0)), ball((0, 9, 0))))
    assert (two.euler, two.components) == (6, 3)


def test_cavities_and_their_contents_are_removed() -> None:
    cavity = ball(radius=0.8)
    cavity.invert()
    vertices, faces = solid_parts(
        *together(ball(), cavity, ball(radius=0.3)), np.array([[1.0, 0, 0], [0.4, 0, 0]]), 0.0
    )
    assert len(faces) == len(ball().faces)
    assert mesh_report(vertices, faces).volume == pytest.approx(4.19, rel=0.02)
    assert len(vertices) == len(ball().vertices)


def test_little_seen_parts_are_removed() -> None:
    parts = together(ball(), ball((3, 0, 0), 0.2), ball((6, 0, 0), 2.0))
    seen = np.array([[0, 0, 1.0]] * 20 + [[3, 0, 0.2]] * 4)  # no camera sees the largest part
    assert mesh_report(*solid_parts(*parts, seen, 0.1)).components == 2
    assert mesh_report(*solid_parts(*parts, seen, 0.3)).components == 1
    assert solid_parts(*parts, seen, 0.3)[0][:, 0].max() == pytest.approx(1)


def test_decimation_keeps_it_closed_and_of_its_size() -> None:
    torus = trimesh.creation.torus(1.0, 0.3, major_sections=96, minor_sections=48)
    vertices, faces = decimated(np.asarray(torus.vertices), np.asarray(torus.faces), 1000)
    report = mesh_report(vertices, faces)
    assert report.faces <= 1000
    assert report.watertight
    assert report.euler == 0
    assert report.volume == pytest.approx(torus.volume, rel=0.02)


def test_decimation_stops_before_it_tears() -> None:
    needle = trimesh.creation.torus(1.0, 0.01, major_sections=64, minor_sections=8)
    report = mesh_report(*decimated(np.asarray(needle.vertices), np.asarray(needle.faces), 8))
    assert report.watertight
    assert report.euler == 0
    assert 8 < report.faces <= len(needle.faces)


def test_smoothing_takes_noise_but_no_volume() -> None:
    clean = ball()
    noise = np.random.default_rng(0).normal(0, 0.02, clean.vertices.shape)
    vertices = smoothed(clean.vertices + noise, np.asarray(clean.faces), 3)
    distances = np.abs(np.linalg.norm(vertices, axis=1) - 1)
    assert (
        distances.mean() < 0.6 * np.abs(np.linalg.norm(clean.vertices + noise, axis=1) - 1).mean()
    )
    assert mesh_report(vertices, np.asarray(clean.faces)).volume == pytest.approx(4.15, rel=0.02)


def test_normals_of_a_ball_point_outward() -> None:
    made = ball()
    normals = vertex_normals(np.asarray(made.vertices), np.asarray(made.faces))
    np.testing.assert_allclose(normals, made.vertices, atol=0.02)


def test_compact_drops_unused_vertices() -> None:
    vertices, faces = compact(np.arange(15.0).reshape(5, 3), np.array([[4, 1, 2]]))
    np.testing.assert_array_equal(vertices[:, 0], [3, 6, 12])
    np.testing.assert_array_equal(faces, [[2, 0, 1]])
