from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from sa3d.errors import SA3DError
from sa3d.export.frames import Placement
from sa3d.export.mesh import Mesh, MeshConfig, export_mesh, object_mesh
from sa3d.inverse_rendering import Evidence
from sa3d.segmentation import Segmentation
from sa3d.testing.analytic_fields import Sphere
from sa3d.testing.analytic_scene import (
    BALL,
    CRATE,
    AnalyticScene,
    analytic_scene,
    voted_segmentation,
)

BALL_VOLUME = 4 / 3 * np.pi * BALL.radius**3


def solid(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def test_ball(still_life: AnalyticScene, voted: Segmentation) -> None:
    mesh = object_mesh(still_life.scene, voted, "ball")
    voxel = 2 / still_life.scene.grid.resolution
    assert solid(mesh).is_watertight
    assert solid(mesh).volume == pytest.approx(BALL_VOLUME, rel=0.06)
    assert abs(solid(mesh).center_mass - BALL.center).max() < voxel / 4
    assert abs(mesh.colors / 255 - np.array(BALL.color)).max() < 0.05


def test_crate_does_not_swallow_the_table(still_life: AnalyticScene, voted: Segmentation) -> None:
    mesh = solid(object_mesh(still_life.scene, voted, "crate"))
    size = np.array(CRATE.high) - CRATE.low
    voxel = 2 / still_life.scene.grid.resolution
    assert mesh.volume == pytest.approx(np.prod(size), rel=0.1)
    assert abs(mesh.bounds - [CRATE.low, CRATE.high]).max() < voxel


@pytest.fixture(scope="module")
def hollow(tmp_path_factory: pytest.TempPathFactory) -> AnalyticScene:
    ball = Sphere((0.0, 0.0, 0.1), 0.4, thickness=0.12)
    return analytic_scene(tmp_path_factory.mktemp("hollow"), {"ball": ball}, kind="contracted")


def test_dark_inside_of_a_hollow_ball_is_filled(hollow: AnalyticScene) -> None:
    mesh = object_mesh(hollow.scene, voted_segmentation(hollow.scene, hollow.masks), "ball")
    assert solid(mesh).body_count == 1
    assert solid(mesh).volume == pytest.approx(4 / 3 * np.pi * 0.4**3, rel=0.06)
    assert abs(solid(mesh).center_mass - (0.0, 0.0, 0.1)).max() < 0.03


def test_file_in_the_original_frame(
    still_life: AnalyticScene, voted: Segmentation, tmp_path: Path
) -> None:
    mirror = np.array([[0.0, 1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3]])  # and it turns faces round
    back = Placement.original(mirror, 0.5)
    for suffix in (".ply", ".obj"):
        path = tmp_path / f"ball{suffix}"
        mesh = export_mesh(still_life.scene, voted, "ball", path, placement=back)
        assert solid(mesh).volume == pytest.approx(8 * BALL_VOLUME, rel=0.06)
        stored = trimesh.load_mesh(path, process=False)
        np.testing.assert_allclose(stored.vertices, mesh.vertices, atol=1e-5)
        np.testing.assert_array_equal(stored.faces, mesh.faces)
        np.testing.assert_array_equal(stored.visual.vertex_colors[:, :3], mesh.colors)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ball.obj", "ball.ply"]


def test_loose_parts_are_dropped(still_life: AnalyticScene, voted: Segmentation) -> None:
    evidence = voted.object("ball").evidence
    speck = Evidence(evidence.object.clone(), evidence.total.clone())
    corner = torch.tensor([-0.8, -0.8, -0.45])
    near = (still_life.scene.elements.positions_world - corner).norm(dim=-1) < 0.12
    speck.object[near] = speck.total[near] = 50.0
    changed = replace(voted, objects={"ball": replace(voted.object("ball"), evidence=speck)})
    with_speck = object_mesh(still_life.scene, changed, "ball", MeshConfig(min_component=0.0))
    without = object_mesh(still_life.scene, changed, "ball", MeshConfig(min_component=0.3))
    assert with_speck.vertices[:, 0].min() < -0.6
    assert without.vertices[:, 0].min() > -0.15


def test_refusals(still_life: AnalyticScene, voted: Segmentation, tmp_path: Path) -> None:
    scene = still_life.scene
    nothing = replace(voted.object("ball"), evidence=Evidence.none(len(voted.elements)))
    empty = replace(voted, objects={"ball": nothing})
    with pytest.raises(SA3DError, match="'ball' is empty"):
        export_mesh(scene, empty, "ball", tmp_path / "a.ply", placement=Placement.nerfstudio())
    with pytest.raises(SA3DError, match=r"\.ply or \.obj"):
        export_mesh(scene, voted, "ball", tmp_path / "a.stl", placement=Placement.nerfstudio())
    assert not list(tmp_path.iterdir())
    (tmp_path / "a.ply").write_text("precious")
    with pytest.raises(SA3DError, match="overwrite"):
        export_mesh(scene, voted, "ball", tmp_path / "a.ply", placement=Placement.nerfstudio())
    assert (tmp_path / "a.ply").read_text() == "precious"


def test_no_density_inside(still_life: AnalyticScene, voted: Segmentation) -> None:
    evidence = voted.object("ball").evidence
    cap = still_life.scene.elements.positions_world[:, 2] > 0.15
    skin = Evidence(evidence.object * cap, evidence.total)
    changed = replace(voted, objects={"ball": replace(voted.object("ball"), evidence=skin)})
    with pytest.raises(SA3DError, match="no density"):
        object_mesh(still_life.scene, changed, "ball", MeshConfig(density_level=1e9))


def test_interruption_leaves_nothing(
    still_life: AnalyticScene,
    voted: Segmentation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_mesh(
            still_life.scene, voted, "ball", tmp_path / "a.ply", placement=Placement.nerfstudio()
        )
    assert not list(tmp_path.iterdir())
