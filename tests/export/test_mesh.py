from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from trimesh.ray.ray_pyembree import RayMeshIntersector

from sa3d.base.errors import SA3DError
from sa3d.export.config import MeshConfig
from sa3d.export.frames import Placement
from sa3d.export.mesh import export_mesh, object_mesh
from sa3d.export.mesh_cleanup import mesh_report
from sa3d.export.mesh_files import Mesh
from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.segmentation import Segmentation
from sa3d.results.rendering import ObjectRenderer
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


@pytest.mark.parametrize("name", ["ball", "crate"])
def test_place_and_size_in_the_original_frame(
    floating: AnalyticScene,
    floating_voted: Segmentation,
    floating_bounds: dict[str, np.ndarray],
    tmp_path: Path,
    name: str,
) -> None:
    mirror = np.array([[0.0, 1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3]])  # which also flips faces
    back = Placement.original(mirror, 0.5)
    export_mesh(floating.scene, floating_voted, name, tmp_path / "a.stl", placement=back)
    found: Any = trimesh.load_mesh(tmp_path / "a.stl")
    low, high = 2 * floating_bounds[name][:, [1, 0, 2]] - [2, 1, 3]  # p = (R q + t) / 2
    voxel = 2 * 2 / floating.scene.grid.resolution
    assert found.is_watertight
    assert found.volume > 0
    assert abs(found.bounds.mean(axis=0) - (low + high) / 2).max() < voxel
    np.testing.assert_allclose(found.extents, high - low, rtol=0.03)


def test_texture_looks_like_the_nerf(
    floating: AnalyticScene, floating_voted: Segmentation, tmp_path: Path
) -> None:
    config = MeshConfig(texture_size=128)
    path = tmp_path / "ball.glb"
    world = Placement.nerfstudio()
    export_mesh(floating.scene, floating_voted, "ball", path, placement=world, config=config)
    mesh: Any = trimesh.load_mesh(path)
    camera = floating.scene.views[5].camera
    rays = camera.image_rays()
    hits: Any = RayMeshIntersector(mesh).intersects_id(
        rays.origins.numpy(), rays.directions.numpy(), multiple_hits=False, return_locations=True
    )
    face, ray, points = hits
    share = trimesh.triangles.points_to_barycentric(mesh.triangles[face], points)
    uv = (mesh.visual.uv[mesh.faces[face]] * share[..., None]).sum(axis=1)
    colors = trimesh.visual.color.uv_to_color(uv, mesh.visual.material.baseColorTexture)
    nerf = ObjectRenderer(floating.scene, floating_voted, "ball").from_camera(camera, "object")
    seen = nerf.reshape(-1, 4)[:, 3] > 127
    sure = nerf.reshape(-1, 4)[:, 3] == 255
    hit = np.zeros_like(seen)
    hit[ray] = True
    assert (seen & hit).sum() / (seen | hit).sum() > 0.95
    both = sure[ray]
    assert (
        abs(colors[both, :3].astype(int) - nerf.reshape(-1, 4)[ray][both, :3]).max() <= 2
    )  # levels of 255


@pytest.mark.parametrize("colors", ["photos", "nerf"])
def test_ball_on_a_table(still_life: AnalyticScene, voted: Segmentation, colors: Any) -> None:
    mesh = object_mesh(still_life.scene, voted, "ball", MeshConfig(colors=colors))
    voxel = 2 / still_life.scene.grid.resolution
    report = mesh_report(mesh.vertices, mesh.faces)
    assert (report.watertight, report.components, report.euler) == (True, 1, 2)
    assert report.volume == pytest.approx(BALL_VOLUME, rel=0.06)
    assert abs(solid(mesh).center_mass - BALL.center).max() < voxel / 4
    assert mesh.colors is not None
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


def test_resolution_in_units_of_the_frame(still_life: AnalyticScene, voted: Segmentation) -> None:
    def edge(config: MeshConfig, scale: float) -> float:
        mesh = object_mesh(still_life.scene, voted, "ball", config, scale)
        return float(np.median(solid(mesh).edges_unique_length))

    fine = MeshConfig(cell_size=0.08, smoothing=0, faces=None)  # of a frame four times as large
    coarse = MeshConfig(cell_size=0.16, smoothing=0, faces=None)
    assert edge(fine, 4.0) == pytest.approx(0.02, rel=0.35)
    assert edge(coarse, 4.0) == pytest.approx(0.04, rel=0.35)


def test_decimated_to_a_number_of_faces(still_life: AnalyticScene, voted: Segmentation) -> None:
    mesh = object_mesh(still_life.scene, voted, "ball", MeshConfig(faces=500))
    assert 400 < len(mesh.faces) <= 500
    assert solid(mesh).is_watertight
    assert solid(mesh).volume == pytest.approx(BALL_VOLUME, rel=0.06)


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples_per_voxel": 0},
        {"cell_size": 0.0},
        {"cell_size": 1e-6},
        {"cell_size": 5.0},
        {"faces": 2},
        {"texture_size": 3},
        {"smoothing": -1},
    ],
)
def test_invalid_settings_of_meshes(
    still_life: AnalyticScene, voted: Segmentation, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(SA3DError, match=r"'mesh\."):
        export_mesh(
            still_life.scene,
            voted,
            "ball",
            tmp_path / "a.glb",
            placement=Placement.nerfstudio(),
            config=MeshConfig(**wrong),
        )


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


def test_a_companion_file_is_not_replaced_unasked(
    still_life: AnalyticScene, voted: Segmentation, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_text("precious")
    with pytest.raises(SA3DError, match=r"a\.png exists"):
        export_mesh(
            still_life.scene, voted, "ball", tmp_path / "a.obj", placement=Placement.nerfstudio()
        )
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_refusals(still_life: AnalyticScene, voted: Segmentation, tmp_path: Path) -> None:
    scene = still_life.scene
    nothing = replace(voted.object("ball"), evidence=Evidence.zeros(len(voted.elements)))
    empty = replace(voted, objects={"ball": nothing})
    with pytest.raises(SA3DError, match="'ball' is empty"):
        export_mesh(scene, empty, "ball", tmp_path / "a.ply", placement=Placement.nerfstudio())
    with pytest.raises(SA3DError, match=r"\.ply or \.stl"):
        export_mesh(scene, voted, "ball", tmp_path / "a.fbx", placement=Placement.nerfstudio())
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
