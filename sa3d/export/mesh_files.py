"""Triangle meshes, and their files: GLB, OBJ with MTL and PNG, PLY, STL, USD and USDZ."""

from __future__ import annotations

import importlib
import io
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sa3d.base.errors import SA3DError
from sa3d.base.narrowing import narrowed
from sa3d.base.storage import all_or_none, atomic_path
from sa3d.export.config import MESH_SUFFIXES, TEXTURED_SUFFIXES
from sa3d.export.frames import Placement
from sa3d.export.mesh_cleanup import vertex_normals


@dataclass(frozen=True)
class Texture:
    """The texture of a mesh.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        uv: float64 [T, 2] in [0, 1]; (0, 0) is the lower left corner of the image.
        faces: int64 [F, 3], indices into ``uv``. Each row of ``uv`` belongs to one vertex.
    """

    image: np.ndarray
    uv: np.ndarray
    faces: np.ndarray


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    Attributes:
        vertices: float64 [V, 3].
        faces: int64 [F, 3], facing outward.
        colors: uint8 [V, 3] RGB; None if the mesh has a texture or no colors.
        texture: instead of ``colors``.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray | None = None
    texture: Texture | None = None

    def placed(self, placement: Placement) -> Mesh:
        """Transform this mesh from the world frame to another frame."""
        vertices = placement.points(self.vertices)
        if not placement.mirrored:
            return replace(self, vertices=vertices)
        texture = self.texture and replace(self.texture, faces=self.texture.faces[:, ::-1].copy())
        return replace(self, vertices=vertices, faces=self.faces[:, ::-1].copy(), texture=texture)


_COMPANIONS = {".obj": (".mtl", ".png"), ".usd": (".png",)}
"""Suffixes of the further files of a mesh with a texture."""


def mesh_suffix(path: Path) -> str:
    """Return the suffix of a mesh file, in lower case.

    Raises:
        SA3DError: there is no such mesh format.
    """
    if path.suffix.lower() not in MESH_SUFFIXES:
        known = f"{', '.join(MESH_SUFFIXES[:-1])} or {MESH_SUFFIXES[-1]}"
        raise SA3DError(f"a mesh is written as {known}, not as {path.suffix or 'no suffix'!r}")
    return path.suffix.lower()


def holds_texture(path: Path) -> bool:
    """Return True if the format of a mesh file has textures.

    Raises:
        SA3DError: there is no such mesh format.
    """
    return mesh_suffix(path) in TEXTURED_SUFFIXES


def mesh_files(path: Path, *, textured: bool) -> list[Path]:
    """Return all files of a mesh at ``path``; two objects in a folder share no file.

    Raises:
        SA3DError: there is no such mesh format.
    """
    others = _COMPANIONS.get(mesh_suffix(path), ()) if textured else ()
    stem = "_".join(path.stem.split())  # OBJ readers split names at spaces
    return [path, *(path.with_name(stem + other) for other in others)]


def write_mesh(path: Path, mesh: Mesh) -> list[Path]:
    """Write a mesh in the format of the suffix, all of its files or none.

    Returns:
        The files.

    Raises:
        SA3DError: the suffix is unknown, a package is missing, or a file cannot be written.
    """
    files = mesh_files(path, textured=mesh.texture is not None)
    contents = _WRITERS[mesh_suffix(path)](path, mesh)
    with all_or_none():
        for file, content in zip(files, contents, strict=True):
            with atomic_path(file) as temporary:
                temporary.write_bytes(content)
    return files


def _glb(_: Path, mesh: Mesh) -> list[bytes]:
    import trimesh

    normals = vertex_normals(mesh.vertices, mesh.faces)
    if mesh.texture is None:
        solid = trimesh.Trimesh(
            mesh.vertices, mesh.faces, vertex_normals=normals, vertex_colors=mesh.colors,
            process=False,
        )  # fmt: skip
    else:
        source = np.empty(len(mesh.texture.uv), dtype=np.int64)
        source[mesh.texture.faces] = mesh.faces  # glTF has one index for position and uv
        solid = trimesh.Trimesh(
            mesh.vertices[source], mesh.texture.faces, vertex_normals=normals[source],
            visual=_textured(mesh.texture), process=False,
        )  # fmt: skip
    exported: Any = trimesh.Scene(solid).export(file_type="glb", include_normals=True)
    return [exported]


def _textured(texture: Texture) -> Any:
    """Return the texture on a rough surface, for trimesh."""
    from PIL import Image
    from trimesh.visual.material import PBRMaterial
    from trimesh.visual.texture import TextureVisuals

    image = Image.fromarray(texture.image)
    material = PBRMaterial(baseColorTexture=image, metallicFactor=0, roughnessFactor=1)
    return TextureVisuals(uv=texture.uv, material=material)


def _obj(path: Path, mesh: Mesh) -> list[bytes]:
    """Encode OBJ, MTL and PNG. Own code: trimesh splits vertices at seams of the texture."""
    faces = mesh.faces + 1
    if mesh.texture is None:
        shades = np.empty((len(mesh.vertices), 0)) if mesh.colors is None else mesh.colors / 255
        body = _lines("v", np.hstack([mesh.vertices, shades])) + _lines("f", faces)
        return ["".join(body).encode()]
    _, library, image = (file.name for file in mesh_files(path, textured=True))
    lines = [f"mtllib {library}\nusemtl object\n"]
    lines += _lines("v", mesh.vertices) + _lines("vt", mesh.texture.uv)
    corners = np.stack([faces, mesh.texture.faces + 1], axis=-1).tolist()
    lines += [f"f {a[0]}/{a[1]} {b[0]}/{b[1]} {c[0]}/{c[1]}\n" for a, b, c in corners]
    material = f"newmtl object\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {image}\n"
    return ["".join(lines).encode(), material.encode(), _png(mesh.texture.image)]


def _lines(keyword: str, rows: np.ndarray) -> list[str]:
    return [f"{keyword} {' '.join(f'{value:.7g}' for value in row)}\n" for row in rows.tolist()]


def _ply_or_stl(path: Path, mesh: Mesh) -> list[bytes]:
    import trimesh

    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=mesh.colors, process=False)
    exported: Any = solid.export(file_type=path.suffix.lower()[1:])
    return [exported]


def _usd(path: Path, mesh: Mesh) -> list[bytes]:
    """Encode the stage and, as a separate file, the texture."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder) / "mesh.usdc"
        save_stage(stage, mesh, mesh_files(path, textured=True)[1].name)
        texture = [] if mesh.texture is None else [_png(mesh.texture.image)]
        return [stage.read_bytes(), *texture]


def _usdz(_: Path, mesh: Mesh) -> list[bytes]:
    """Encode the stage and the texture in one archive."""
    with tempfile.TemporaryDirectory() as folder:
        stage, package = Path(folder) / "mesh.usdc", Path(folder) / "mesh.usdz"
        if mesh.texture is not None:
            (Path(folder) / "texture.png").write_bytes(_png(mesh.texture.image))
        save_stage(stage, mesh, "texture.png")
        package_stage(stage, package)
        return [package.read_bytes()]


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return file.getvalue()


_WRITERS = {
    ".glb": _glb,
    ".obj": _obj,
    ".usdz": _usdz,
    ".usd": _usd,
    ".ply": _ply_or_stl,
    ".stl": _ply_or_stl,
}


def save_stage(path: Path, mesh: Mesh, texture_name: str) -> None:
    """Write a mesh as a USD stage of one object, +z up, with a material if it has a texture.

    Args:
        path: of the stage.
        mesh: to write.
        texture_name: name of the texture's file beside the stage; this function does not write it.

    Raises:
        SA3DError: usd-core is not installed.
    """
    try:
        usd, geometry = _pxr("Usd"), _pxr("UsdGeom")
    except ImportError as error:
        raise SA3DError('writing USD needs usd-core: pip install "sa3d-nerfstudio[usd]"') from error
    stage = usd.Stage.CreateNew(str(path))
    geometry.SetStageUpAxis(stage, geometry.Tokens.z)
    stage.SetDefaultPrim(geometry.Xform.Define(stage, "/object").GetPrim())
    shape = _shape(stage, mesh)
    if mesh.texture is not None:
        _bind_texture(stage, shape, mesh.texture, texture_name)
    stage.Save()


def package_stage(stage: Path, package: Path) -> None:
    """Pack a stage and the files it names into a ``.usdz``.

    Raises:
        SA3DError: usd-core cannot pack them.
    """
    if not _pxr("UsdUtils").CreateNewUsdzPackage(str(stage), str(package)):
        raise SA3DError("usd-core cannot pack the USDZ file: choose another format")


def _shape(stage: Any, mesh: Mesh) -> Any:
    """Define the triangles, with colors per vertex if the mesh has them."""
    geometry, arrays = _pxr("UsdGeom"), _pxr("Vt")
    shape = geometry.Mesh.Define(stage, "/object/mesh")
    shape.CreatePointsAttr(arrays.Vec3fArray.FromNumpy(mesh.vertices.astype(np.float32)))
    shape.CreateFaceVertexIndicesAttr(_indices(mesh.faces))
    shape.CreateFaceVertexCountsAttr(arrays.IntArray([3] * len(mesh.faces)))
    shape.CreateSubdivisionSchemeAttr(geometry.Tokens.none)
    ends = np.stack([mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)])
    shape.CreateExtentAttr(arrays.Vec3fArray.FromNumpy(ends.astype(np.float32)))
    if mesh.colors is not None:
        shades = arrays.Vec3fArray.FromNumpy((mesh.colors / 255).astype(np.float32))
        shape.CreateDisplayColorPrimvar(geometry.Tokens.vertex).Set(shades)
    return shape


def _bind_texture(stage: Any, shape: Any, texture: Texture, name: str) -> None:
    """Add texture coordinates, and a rough material with the texture."""
    geometry, shading, arrays = _pxr("UsdGeom"), _pxr("UsdShade"), _pxr("Vt")
    values = _pxr("Sdf").ValueTypeNames
    uv = geometry.PrimvarsAPI(shape).CreatePrimvar(
        "st", values.TexCoord2fArray, geometry.Tokens.faceVarying
    )
    uv.Set(arrays.Vec2fArray.FromNumpy(texture.uv.astype(np.float32)))
    uv.SetIndices(_indices(texture.faces))
    material = shading.Material.Define(stage, "/object/material")

    def shader(part: str, kind: str) -> Any:
        made = shading.Shader.Define(stage, f"/object/material/{part}")
        made.CreateIdAttr(kind)
        return made

    reader, sampler, surface = (
        shader("uv", "UsdPrimvarReader_float2"),
        shader("texture", "UsdUVTexture"),
        shader("surface", "UsdPreviewSurface"),
    )
    reader.CreateInput("varname", values.String).Set("st")
    sampler.CreateInput("file", values.Asset).Set(name)
    found = reader.CreateOutput("result", values.Float2)
    sampler.CreateInput("st", values.Float2).ConnectToSource(found)
    surface.CreateInput("roughness", values.Float).Set(1.0)
    rgb = sampler.CreateOutput("rgb", values.Float3)
    surface.CreateInput("diffuseColor", values.Color3f).ConnectToSource(rgb)
    shown = surface.CreateOutput("surface", values.Token)
    material.CreateSurfaceOutput().ConnectToSource(shown)
    shading.MaterialBindingAPI.Apply(shape.GetPrim()).Bind(material)


def _indices(faces: np.ndarray) -> Any:
    return _pxr("Vt").IntArray.FromNumpy(
        narrowed(faces.reshape(-1), np.int32, "lower 'mesh.faces'")
    )


def _pxr(name: str) -> Any:
    """Import a module of usd-core; usd-core has no type information."""
    return importlib.import_module(f"pxr.{name}")
