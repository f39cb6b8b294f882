"""Meshes as USD stages, by usd-core."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from sa3d.base.errors import SA3DError
from sa3d.export.triangle_mesh import Mesh, Texture


def save_stage(path: Path, mesh: Mesh, texture_name: str) -> None:
    """Write a mesh as a USD stage of one object, z upward, with the material its texture makes.

    Args:
        texture_name: the texture's file, beside the stage; not written here.

    Raises:
        SA3DError: usd-core is missing.
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
    """Put a stage and the files it names into a ``.usdz``.

    Raises:
        SA3DError: usd-core refuses.
    """
    if not _pxr("UsdUtils").CreateNewUsdzPackage(str(stage), str(package)):
        raise SA3DError("usd-core could not make a USDZ package: choose another format")


def _shape(stage: Any, mesh: Mesh) -> Any:
    """The triangles, with vertex colors if the mesh has them."""
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
    """Texture coordinates, and a rough surface that looks its texture up by them."""
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
    return _pxr("Vt").IntArray.FromNumpy(faces.reshape(-1).astype(np.int32))


def _pxr(name: str) -> Any:
    """A module of usd-core, whose modules describe no types."""
    return importlib.import_module(f"pxr.{name}")
