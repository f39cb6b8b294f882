from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from sa3d.base.errors import SA3DError
from sa3d.export.config import MESH_SUFFIXES
from sa3d.export.frames import Placement
from sa3d.export.mesh_files import Mesh, Texture, mesh_files, write_mesh

# Right-handed unit tetrahedron; the lower left quarter of its texture is red, the rest blue.
VERTICES = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
IMAGE = np.full((8, 8, 3), (0, 0, 255), np.uint8)
IMAGE[4:, :4] = (255, 0, 0)
_RED, _BLUE = [[0.1, 0.1], [0.4, 0.1], [0.1, 0.4]], [[0.6, 0.6], [0.9, 0.6], [0.6, 0.9]]
UV = np.array(_RED + 3 * _BLUE)  # the first face is red
UV_FACES = np.arange(12).reshape(4, 3)
TEXTURED = Mesh(VERTICES, FACES, texture=Texture(IMAGE, UV, UV_FACES))
COLORED = Mesh(VERTICES, FACES, colors=np.diag([250, 200, 150, 9])[:, :3].astype(np.uint8))


def is_red_where_it_should_be(mesh: Any, image: Image.Image) -> None:
    red = mesh.triangles_center[:, 2] < 1e-6
    colors = trimesh.visual.color.uv_to_color(mesh.visual.uv[mesh.faces].mean(axis=1), image)
    assert red.sum() == 1
    assert (colors[red, :3] == (255, 0, 0)).all()
    assert (colors[~red, :3] == (0, 0, 255)).all()


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_texture_in_trimesh(tmp_path: Path, suffix: str) -> None:
    files = write_mesh(tmp_path / f"red mug{suffix}", TEXTURED)
    assert sorted(files) == sorted(tmp_path.iterdir())
    mesh: Any = trimesh.load_mesh(files[0], process=False)
    material = mesh.visual.material
    is_red_where_it_should_be(mesh, getattr(material, "baseColorTexture", None) or material.image)
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(1 / 6)


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_texture_in_open3d(tmp_path: Path, suffix: str) -> None:
    import open3d

    write_mesh(tmp_path / f"red mug{suffix}", TEXTURED)
    model = open3d.io.read_triangle_model(str(tmp_path / f"red mug{suffix}"))
    np.testing.assert_array_equal(np.asarray(model.materials[0].albedo_img), IMAGE)
    [part] = model.meshes
    corners = np.asarray(part.mesh.vertices)[np.asarray(part.mesh.triangles)]
    uv = np.asarray(part.mesh.triangle_uvs).reshape(-1, 3, 2).mean(axis=1)
    red = np.abs(corners[..., 2]).max(axis=1) < 1e-6
    rows, columns = 7 - (uv[:, 1] * 8).astype(int), (uv[:, 0] * 8).astype(int)
    shown = np.asarray(model.materials[0].albedo_img)[rows, columns]
    assert red.sum() == 1
    assert (shown[red] == (255, 0, 0)).all()
    assert (shown[~red] == (0, 0, 255)).all()


@pytest.mark.parametrize("suffix", [".ply", ".glb", ".obj"])
def test_vertex_colors(tmp_path: Path, suffix: str) -> None:
    [file] = write_mesh(tmp_path / f"a{suffix}", COLORED)
    mesh: Any = trimesh.load_mesh(file, process=False)
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_allclose(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.visual.vertex_colors[:, :3], COLORED.colors)


def test_stl_has_no_colors(tmp_path: Path) -> None:
    [file] = write_mesh(tmp_path / "a.stl", COLORED)
    mesh: Any = trimesh.load_mesh(file)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(1 / 6)


@pytest.mark.parametrize("suffix", [".usdz", ".usd"])
def test_usd(tmp_path: Path, suffix: str) -> None:
    usd, geometry, shading = (
        pytest.importorskip(f"pxr.{n}") for n in ("Usd", "UsdGeom", "UsdShade")
    )

    files = write_mesh(tmp_path / f"a{suffix}", TEXTURED)
    assert len(files) == (1 if suffix == ".usdz" else 2)
    stage = usd.Stage.Open(str(files[0]))
    shape = geometry.Mesh(stage.GetPrimAtPath("/object/mesh"))
    np.testing.assert_allclose(np.asarray(shape.GetPointsAttr().Get()), VERTICES)
    corners = np.asarray(shape.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)
    np.testing.assert_array_equal(corners, FACES)
    uv = geometry.PrimvarsAPI(shape).GetPrimvar("st").ComputeFlattened()
    np.testing.assert_allclose(np.asarray(uv), UV[UV_FACES].reshape(-1, 2), atol=1e-6)
    material, _ = shading.MaterialBindingAPI(shape.GetPrim()).ComputeBoundMaterial()
    assert material.GetPrim().IsValid()
    texture = shading.Shader(stage.GetPrimAtPath("/object/material/texture"))
    asset = texture.GetInput("file").Get()
    assert asset.resolvedPath
    if suffix == ".usd":
        with Image.open(asset.resolvedPath) as image:
            np.testing.assert_array_equal(np.asarray(image), IMAGE)


def test_usd_vertex_colors(tmp_path: Path) -> None:
    usd, geometry = pytest.importorskip("pxr.Usd"), pytest.importorskip("pxr.UsdGeom")

    [file] = write_mesh(tmp_path / "a.usd", COLORED)
    stage = usd.Stage.Open(str(file))
    shape = geometry.Mesh(stage.GetPrimAtPath("/object/mesh"))
    shades = np.asarray(shape.GetDisplayColorPrimvar().Get())
    np.testing.assert_allclose(shades * 255, np.asarray(COLORED.colors), atol=1e-3)


def test_two_objects_in_a_folder_share_no_file(tmp_path: Path) -> None:
    first, second = (mesh_files(tmp_path / f"{n}.obj", textured=True) for n in ("a", "b"))
    assert not set(first) & set(second)
    write_mesh(tmp_path / "a.obj", TEXTURED)
    text = (tmp_path / "a.obj").read_text() + (tmp_path / "a.mtl").read_text()
    assert "mtllib a.mtl" in text
    assert "map_Kd a.png" in text


@pytest.mark.parametrize("suffix", [s for s in MESH_SUFFIXES if not s.startswith(".usd")])
def test_mirrored_faces_stay_outward(tmp_path: Path, suffix: str) -> None:
    mirror = np.array([[0.0, 1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3]])
    mesh = TEXTURED.placed(Placement.original(mirror, 0.5))
    loaded: Any = trimesh.load_mesh(write_mesh(tmp_path / f"a{suffix}", mesh)[0], process=False)
    assert loaded.volume == pytest.approx(8 / 6)


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(SA3DError, match=r"\.glb, .*\.stl, not as '\.fbx'"):
        write_mesh(tmp_path / "a.fbx", TEXTURED)


def test_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:10])
        if path.suffix == ".png":
            raise KeyboardInterrupt
        return 10

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_mesh(tmp_path / "a.obj", TEXTURED)
    assert not list(tmp_path.iterdir())
