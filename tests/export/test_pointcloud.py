from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import KDTree

import sa3d.export.pointcloud_files
from sa3d.base.errors import SA3DError
from sa3d.export.config import PointCloudConfig
from sa3d.export.frames import Placement
from sa3d.export.pointcloud import export_pointcloud, object_pointcloud
from sa3d.export.pointcloud_files import PointCloud
from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.segmentation import Segmentation
from sa3d.results.calibration import calibrated_probability
from sa3d.testing.analytic_scene import BALL, CRATE, AnalyticScene

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
    cloud = export_pointcloud(still_life.scene, voted, ["ball"], path, placement=back)
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


def test_probability_is_the_calibrated_one_of_the_object(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    cloud = object_pointcloud(still_life.scene, voted, "ball")
    found = voted.elements.find(still_life.scene.grid.keys(torch.tensor(cloud.positions)))
    shares = calibrated_probability(voted, "ball")[found].numpy()
    np.testing.assert_allclose(cloud.probabilities, shares, atol=1e-6)
    assert np.median(shares) > 0.95


@pytest.mark.parametrize("count", [40, 300, 900])
def test_count_is_kept_and_spread(
    still_life: AnalyticScene, voted: Segmentation, count: int
) -> None:
    cloud = object_pointcloud(still_life.scene, voted, "ball", PointCloudConfig(count=count))
    assert len(cloud) == count
    distances = KDTree(cloud.positions).query(cloud.positions, k=2)[0][:, 1]
    even = np.sqrt(4 * np.pi * BALL.radius**2 / count)  # side of each point's share of the sphere
    assert distances.max() < 2 * even


def test_count_beyond_what_views_see_gives_all(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    everything = object_pointcloud(still_life.scene, voted, "ball", PointCloudConfig(count=10**6))
    pixels = sum(int(mask.sum()) for mask in still_life.masks["ball"])
    assert 0.8 * pixels < len(everything) <= pixels


def test_spacing_is_in_units_of_the_frame(
    still_life: AnalyticScene, voted: Segmentation, tmp_path: Path
) -> None:
    doubled = Placement.original(np.eye(4)[:3], 0.5)
    config = PointCloudConfig(spacing=0.2)
    wide = export_pointcloud(
        still_life.scene, voted, ["ball"], tmp_path / "a.ply", placement=doubled, config=config
    )
    in_world = object_pointcloud(still_life.scene, voted, "ball", PointCloudConfig(spacing=0.1))
    assert len(wide) == len(in_world)
    corner = in_world.positions.min(axis=0)
    assert len(np.unique(np.floor((in_world.positions - corner) / 0.1), axis=0)) > 0.6 * len(wide)
    tree = KDTree(in_world.positions)
    assert np.median(tree.query(in_world.positions, k=2)[0][:, 1]) == pytest.approx(0.1, rel=0.4)


def test_stray_points_are_dropped(still_life: AnalyticScene, voted: Segmentation) -> None:
    def farthest(deviations: float) -> float:
        config = PointCloudConfig(outlier_deviations=deviations)
        positions = object_pointcloud(still_life.scene, changed, "ball", config).positions
        return float(np.linalg.norm(positions - CENTER, axis=1).max())

    # Two voxels of the table with some evidence for the ball.
    table = (still_life.scene.elements.positions_world - torch.tensor([0.7, 0.1, -0.4])).norm(
        dim=-1
    ) < 0.06
    evidence = voted.object("ball").evidence
    with_strays = Evidence(evidence.object.clone(), evidence.total.clone())
    with_strays.object[table] = with_strays.total[table] = 60.0
    strays = replace(voted.object("ball"), evidence=with_strays, views={})
    changed = replace(voted, objects={"ball": strays})
    assert farthest(100.0) > BALL.radius + 0.1
    assert farthest(2.5) < BALL.radius + 0.05


def test_place_and_size_of_known_objects(
    floating: AnalyticScene,
    floating_voted: Segmentation,
    floating_bounds: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    back = Placement.original(np.array([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3]]), 0.25)
    voxel = back.scale * 2 / floating.scene.grid.resolution
    config = PointCloudConfig(spacing=voxel / 4)
    for name, world in floating_bounds.items():
        cloud = export_pointcloud(
            floating.scene,
            floating_voted,
            [name],
            tmp_path / f"{name}.ply",
            placement=back,
            config=config,
        )
        bounds = np.sort(back.points(world), axis=0)
        found = np.array([cloud.positions.min(axis=0), cloud.positions.max(axis=0)])
        assert abs(found.mean(axis=0) - bounds.mean(axis=0)).max() < voxel
        np.testing.assert_allclose(np.ptp(found, axis=0), np.ptp(bounds, axis=0), rtol=0.03)


@pytest.fixture
def both(still_life: AnalyticScene, voted: Segmentation, tmp_path: Path) -> PointCloud:
    """Ball and crate in one file of each kind, far from the origin."""
    far = Placement("original", np.array([[1.0, 0, 0, 5e6], [0, 1, 0, 0], [0, 0, 1, 0], [0] * 4]))
    for suffix in (".pcd", ".npz", ".ply"):
        path = tmp_path / f"both{suffix}"
        cloud = export_pointcloud(still_life.scene, voted, ["crate", "ball"], path, placement=far)
    return cloud


def test_several_objects_share_a_file(both: PointCloud, voted: Segmentation) -> None:
    centres = {
        name: both.positions[both.labels == label].mean(axis=0) - [5e6, 0, 0]
        for label, name in enumerate(voted.objects)
    }
    assert set(np.unique(both.labels)) == {0, 1}
    assert abs(centres["ball"] - CENTER).max() < 0.1
    assert abs(centres["crate"] - np.mean([CRATE.low, CRATE.high], axis=0)).max() < 0.1


@pytest.mark.parametrize("suffix", [".ply", ".pcd"])
def test_open3d_keeps_everything(both: PointCloud, tmp_path: Path, suffix: str) -> None:
    import open3d

    points = open3d.t.io.read_point_cloud(str(tmp_path / f"both{suffix}")).point
    np.testing.assert_array_equal(points.positions.numpy(), both.positions)  # float64: far away
    np.testing.assert_allclose(points.normals.numpy(), both.normals, atol=1e-6)
    np.testing.assert_array_equal(points.colors.numpy(), both.colors)
    assert points["label"].numpy().dtype.kind in "iu"
    np.testing.assert_array_equal(points["label"].numpy()[:, 0], both.labels)
    np.testing.assert_array_equal(points["probability"].numpy()[:, 0], both.probabilities)


def test_npz_has_the_described_arrays(both: PointCloud, tmp_path: Path) -> None:
    with np.load(tmp_path / "both.npz") as stored:
        assert set(stored.files) == {
            "positions", "normals", "colors", "label", "probability", "names", "frame"
        }  # fmt: skip
        np.testing.assert_array_equal(stored["positions"], both.positions)
        assert stored["label"].dtype == np.int32
        assert stored["names"].tolist() == ["ball", "crate"]
        assert str(stored["frame"]) == "original"


def test_ply_header(both: PointCloud, tmp_path: Path) -> None:
    header = (tmp_path / "both.ply").read_bytes().split(b"end_header")[0].decode().splitlines()
    assert 'comment label 1 "crate"' in header
    assert [line for line in header if line.startswith("property")] == [
        "property double x",
        "property double y",
        "property double z",
        "property float nx",
        "property float ny",
        "property float nz",
        "property uchar red",
        "property uchar green",
        "property uchar blue",
        "property int label",
        "property float probability",
    ]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"count": 5, "spacing": 0.1}, "are both given: give one"),
        ({"count": 0}, "'pointcloud.count' must be at least 1"),
        ({"spacing": -0.1}, "'pointcloud.spacing' must be above 0"),
        ({"neighbours": 0}, "'pointcloud.neighbours' must be at least 1"),
    ],
)
def test_invalid_settings(
    still_life: AnalyticScene, voted: Segmentation, config: dict[str, Any], words: str
) -> None:
    with pytest.raises(SA3DError, match=words):
        object_pointcloud(still_life.scene, voted, "ball", PointCloudConfig(**config))


def test_refusals(still_life: AnalyticScene, voted: Segmentation, tmp_path: Path) -> None:
    scene = still_life.scene
    nothing = replace(voted.object("ball"), evidence=Evidence.zeros(len(voted.elements)))
    with pytest.raises(SA3DError, match="'ball' is empty"):
        export_pointcloud(
            scene,
            replace(voted, objects={"ball": nothing}),
            ["ball"],
            tmp_path / "a.ply",
            placement=Placement.nerfstudio(),
        )
    with pytest.raises(SA3DError, match=r"\.ply"):
        export_pointcloud(
            scene, voted, ["ball"], tmp_path / "a.xyz", placement=Placement.nerfstudio()
        )
    assert not list(tmp_path.iterdir())
    (tmp_path / "a.ply").write_text("precious")
    with pytest.raises(SA3DError, match="overwrite"):
        export_pointcloud(
            scene, voted, ["ball"], tmp_path / "a.ply", placement=Placement.nerfstudio()
        )
    assert (tmp_path / "a.ply").read_text() == "precious"
    export_pointcloud(
        scene, voted, ["ball"], tmp_path / "a.ply", placement=Placement.nerfstudio(), overwrite=True
    )
    assert (tmp_path / "a.ply").read_bytes().startswith(b"ply")


def test_interruption_leaves_nothing(
    still_life: AnalyticScene,
    voted: Segmentation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sa3d.export.pointcloud_files, "_ply", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_pointcloud(
            still_life.scene, voted, ["ball"], tmp_path / "a.ply", placement=Placement.nerfstudio()
        )
    assert not list(tmp_path.iterdir())
