from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

import sa3d.export.pointcloud
from sa3d.errors import SA3DError
from sa3d.export.frames import Placement
from sa3d.export.pointcloud import export_pointcloud, object_pointcloud
from sa3d.inverse_rendering import Evidence
from sa3d.segmentation import Segmentation
from sa3d.testing.analytic_scene import BALL, AnalyticScene

CENTER = np.array(BALL.center)


def test_points_lie_on_the_ball(still_life: AnalyticScene, voted: Segmentation) -> None:
    cloud = object_pointcloud(still_life.scene, voted, "ball")
    voxel = 2 / still_life.scene.grid.resolution
    outward = (cloud.positions - CENTER) / np.linalg.norm(
        cloud.positions - CENTER, axis=1, keepdims=True
    )
    radius = np.linalg.norm(cloud.positions - CENTER, axis=1)
    assert len(cloud) > 200
    assert abs(radius - BALL.radius).mean() < voxel / 2
    assert ((cloud.normals * outward).sum(axis=1) > 0.8).mean() > 0.97
    assert np.linalg.norm(cloud.normals, axis=1) == pytest.approx(1.0)
    assert abs(cloud.colors.astype(float) / 255 - np.array(BALL.color)).max() < 0.05


def test_one_point_per_voxel(still_life: AnalyticScene, voted: Segmentation) -> None:
    cloud = object_pointcloud(still_life.scene, voted, "ball")
    cells = np.floor((cloud.positions + 1) / 2 * still_life.scene.grid.resolution)
    assert len(np.unique(cells, axis=0)) == len(cloud)


def test_file_in_the_original_frame(
    still_life: AnalyticScene, voted: Segmentation, tmp_path: Path
) -> None:
    back = Placement.original(np.array([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3]]), 0.5)
    path = tmp_path / "new" / "ball.ply"
    cloud = export_pointcloud(still_life.scene, voted, "ball", path, placement=back)
    world = object_pointcloud(still_life.scene, voted, "ball")
    radius = np.linalg.norm(cloud.positions - back.points(CENTER), axis=1)
    assert radius.mean() == pytest.approx(2 * BALL.radius, rel=0.05)
    np.testing.assert_array_equal(cloud.colors, world.colors)

    stored = trimesh.load(path)
    assert isinstance(stored, trimesh.PointCloud)
    np.testing.assert_allclose(stored.vertices, cloud.positions, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(stored.colors)[:, :3], cloud.colors)
    header = path.read_bytes().split(b"end_header")[0]
    assert b"binary_little_endian" in header
    assert b"property float nx" in header


def test_refusals(still_life: AnalyticScene, voted: Segmentation, tmp_path: Path) -> None:
    scene = still_life.scene
    nothing = replace(voted.object("ball"), evidence=Evidence.none(len(voted.elements)))
    with pytest.raises(SA3DError, match="'ball' is empty"):
        export_pointcloud(
            scene,
            replace(voted, objects={"ball": nothing}),
            "ball",
            tmp_path / "a.ply",
            placement=Placement.nerfstudio(),
        )
    with pytest.raises(SA3DError, match=r"\.ply"):
        export_pointcloud(
            scene, voted, "ball", tmp_path / "a.xyz", placement=Placement.nerfstudio()
        )
    assert not list(tmp_path.iterdir())
    (tmp_path / "a.ply").write_text("precious")
    with pytest.raises(SA3DError, match="overwrite"):
        export_pointcloud(
            scene, voted, "ball", tmp_path / "a.ply", placement=Placement.nerfstudio()
        )
    assert (tmp_path / "a.ply").read_text() == "precious"
    export_pointcloud(
        scene, voted, "ball", tmp_path / "a.ply", placement=Placement.nerfstudio(), overwrite=True
    )
    assert (tmp_path / "a.ply").read_bytes().startswith(b"ply")


def test_interruption_leaves_nothing(
    still_life: AnalyticScene,
    voted: Segmentation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(path: Path, cloud: object) -> None:
        path.write_bytes(b"ply")
        raise KeyboardInterrupt

    monkeypatch.setattr(sa3d.export.pointcloud, "write_ply", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_pointcloud(
            still_life.scene, voted, "ball", tmp_path / "a.ply", placement=Placement.nerfstudio()
        )
    assert not list(tmp_path.iterdir())
