from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nerfstudio.data.scene_box import OrientedBox
from scipy.spatial.transform import Rotation

from sa3d.base.errors import SA3DError
from sa3d.export.box import (
    Box,
    bounding_box,
    box_points,
    described,
    export_boxes,
    ns_export_flags,
    object_box,
)
from sa3d.export.config import BoxConfig
from sa3d.export.frames import Placement
from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.segmentation import Segmentation
from sa3d.testing.analytic_scene import BALL, AnalyticScene

ANGLES = st.floats(-3.1, 3.1)


def inside(box: OrientedBox, points: np.ndarray) -> np.ndarray:
    return box.within(torch.tensor(points, dtype=torch.float32)).numpy()


def corners(size: tuple[float, float, float], rotation: np.ndarray) -> np.ndarray:
    return Box(np.array([1.0, 2.0, 3.0]), rotation, np.array(size)).corners


@settings(deadline=None)  # the first call imports
@given(ANGLES, ANGLES, ANGLES)
def test_least_box_of_a_turned_brick(roll: float, pitch: float, yaw: float) -> None:
    turned = Rotation.from_euler("xyz", (roll, pitch, yaw)).as_matrix()
    box = bounding_box(corners((1.0, 2.0, 4.0), turned))
    np.testing.assert_allclose(np.sort(box.dimensions), (1, 2, 4), rtol=1e-4)
    np.testing.assert_allclose(box.center, (1, 2, 3), atol=1e-4)
    assert np.linalg.det(box.rotation) == pytest.approx(1)
    assert np.all(np.diag(box.rotation) > -1e-9)  # axes ordered by the frame


def test_axes_are_ordered_by_the_frame() -> None:
    box = bounding_box(corners((1.0, 2.0, 4.0), np.eye(3)))
    np.testing.assert_allclose(box.dimensions, (1, 2, 4))
    np.testing.assert_allclose(box.rotation, np.eye(3), atol=1e-9)
    assert box.rotation_rpy == pytest.approx((0, 0, 0))


def test_upright_box_of_a_tilted_brick() -> None:
    tilted = Rotation.from_euler("y", 45, degrees=True).as_matrix()
    box = bounding_box(corners((2.0, 1.0, 2.0), tilted), upright=True)
    np.testing.assert_allclose(box.rotation[:, 2], (0, 0, 1), atol=1e-9)
    np.testing.assert_allclose(box.dimensions, (8**0.5, 1, 8**0.5))


@given(ANGLES, st.one_of(ANGLES, st.sampled_from((math.pi / 2, -math.pi / 2))), ANGLES)
def test_flags_mean_the_same_box_to_nerfstudio(roll: float, pitch: float, yaw: float) -> None:
    rotation = Rotation.from_euler("xyz", (roll, pitch, yaw)).as_matrix()
    box = Box(np.array([0.5, -1.0, 2.0]), rotation, np.array([1.0, 2.0, 3.0]))
    flags = ns_export_flags(box, padding=0.01)
    theirs = OrientedBox.from_params(*(tuple(values) for values in flags.values()))
    np.testing.assert_allclose(theirs.R.numpy(), rotation, atol=1e-5)
    np.testing.assert_allclose(flags["obb_scale"], (1.06, 2.06, 3.06))


def test_flags_are_plain_decimals() -> None:
    center = np.array([-1e-9, -1.25e-5, 1e6])
    entry = described(Box(center, np.eye(3), np.ones(3)), Placement.nerfstudio(), 0.0)
    assert entry["ns_export"]["flags"] == (
        "--obb_center 0.000000 -0.000013 1000000.000000 "
        "--obb_rotation 0.000000 0.000000 0.000000 "
        "--obb_scale 1.000000 1.000000 1.000000"
    )


@pytest.mark.parametrize(
    "points", [np.ones((1, 3)), np.diag([1.0, 1.0, 0.0])[:2], np.zeros((9, 3))]
)
def test_few_points_have_a_box(points: np.ndarray) -> None:
    box = bounding_box(points)
    assert np.linalg.norm(box.dimensions) == pytest.approx(np.linalg.norm(np.ptp(points, axis=0)))
    np.testing.assert_allclose(box.center, points.mean(axis=0), atol=1e-9)


def test_flat_points_have_a_flat_box() -> None:
    square = np.stack([*np.meshgrid(np.arange(5.0), np.arange(3.0)), np.zeros((3, 5))], axis=-1)
    box = bounding_box(square.reshape(-1, 3))
    np.testing.assert_allclose(box.dimensions, (4, 2, 0), atol=1e-6)


def test_place_and_size_of_known_objects(
    floating: AnalyticScene,
    floating_voted: Segmentation,
    floating_bounds: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    back = Placement.original(np.array([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3]]), 0.25)
    voxel = back.scale * 2 / floating.scene.grid.resolution
    path = tmp_path / "boxes.json"
    names = list(floating_bounds)
    export_boxes(
        floating.scene,
        floating_voted,
        names,
        path,
        placement=back,
        config=BoxConfig(upright=True),
    )
    stored = json.loads(path.read_text())
    assert stored["frame"] == "original"
    for entry in stored["objects"]:
        truth = np.sort(back.points(floating_bounds[entry["name"]]), axis=0)
        assert abs(np.array(entry["center"]) - truth.mean(axis=0)).max() < voxel
        np.testing.assert_allclose(entry["dimensions"], np.ptp(truth, axis=0), rtol=0.03)
        np.testing.assert_allclose(np.mean(entry["corners"], axis=0), entry["center"])
    assert [entry["name"] for entry in stored["objects"]] == names
    np.testing.assert_allclose(stored["objects"][1]["rotation"], np.eye(3), atol=0.05)


@pytest.mark.filterwarnings("ignore:To copy construct:UserWarning:nerfstudio")
def test_flags_contain_the_object_in_nerfstudios_frame(
    floating: AnalyticScene, floating_voted: Segmentation, tmp_path: Path
) -> None:
    back = Placement.original(np.array([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3]]), 0.25)
    for place, placement in (("a.json", back), ("b.json", Placement.nerfstudio())):
        (entry,) = export_boxes(
            floating.scene, floating_voted, ["crate"], tmp_path / place, placement=placement
        )
        flags = entry["ns_export"]
        box = OrientedBox.from_params(
            *(tuple(flags[key]) for key in ("obb_center", "obb_rotation", "obb_scale"))
        )
        assert inside(box, box_points(floating.scene, floating_voted, "crate", 0.05)).all()
        outside = box_points(floating.scene, floating_voted, "ball", 0.05)
        assert not inside(box, outside).any()


def test_stray_points_do_not_widen_the_box(still_life: AnalyticScene, voted: Segmentation) -> None:
    table = (still_life.scene.elements.positions_world - torch.tensor([0.7, 0.1, -0.4])).norm(
        dim=-1
    ) < 0.06
    evidence = voted.object("ball").evidence
    with_strays = Evidence(evidence.object.clone(), evidence.total.clone())
    with_strays.object[table] = with_strays.total[table] = 60.0
    strays = replace(voted.object("ball"), evidence=with_strays, views={})
    changed = replace(voted, objects={"ball": strays})
    trusting = object_box(still_life.scene, changed, "ball", BoxConfig(min_group=0.0))
    careful = object_box(still_life.scene, changed, "ball")
    assert trusting.dimensions.max() > 2 * BALL.radius + 0.1
    assert careful.dimensions.max() < 2 * BALL.radius + 0.05


def test_mirrored_frames_keep_the_rotation_proper() -> None:
    mirror = Placement("original", np.diag([-2.0, 2, 2, 1]))
    rotation = Rotation.from_euler("xyz", (0.2, 0.1, 0.5)).as_matrix()
    box = Box(np.array([1.0, 2, 3]), rotation, np.array([1.0, 2, 3]))
    placed = box.placed(mirror)
    assert np.linalg.det(placed.rotation) == pytest.approx(1)
    mirrored = mirror.points(box.corners)
    for corner in placed.corners:
        assert np.linalg.norm(mirrored - corner, axis=1).min() < 1e-9


def test_refusals(still_life: AnalyticScene, voted: Segmentation, tmp_path: Path) -> None:
    world = Placement.nerfstudio()
    with pytest.raises(SA3DError, match=r"\.json"):
        export_boxes(still_life.scene, voted, ["ball"], tmp_path / "a.txt", placement=world)
    nothing = replace(voted.object("ball"), evidence=Evidence.zeros(len(voted.elements)))
    empty = replace(voted, objects={"ball": nothing})
    with pytest.raises(SA3DError, match="'ball' is empty"):
        export_boxes(still_life.scene, empty, ["ball"], tmp_path / "a.json", placement=world)
    assert not list(tmp_path.iterdir())
    (tmp_path / "a.json").write_text("precious")
    with pytest.raises(SA3DError, match="overwrite"):
        export_boxes(still_life.scene, voted, ["ball"], tmp_path / "a.json", placement=world)
    assert (tmp_path / "a.json").read_text() == "precious"
