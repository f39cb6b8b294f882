"""What a segmentation can be exported as: one module per kind, each with ``Export`` and ``HELP``.

``sa3d export``, ``obj.export`` of the Python API and batch jobs all go through these classes: their
fields are the options, ``ExportOptions.write`` does it.
"""

from __future__ import annotations

import importlib
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from nerfstudio_plugin.exports.options import ExportOptions
from sa3d.base.errors import SA3DError

KINDS = {
    "masks": "a mask of every photo: PNG, RGBA, label maps, COCO, for COLMAP, for ns-train",
    "pointcloud": "points with color, normal, label and probability: PLY, PCD or NPZ",
    "mesh": "a textured, watertight triangle mesh: GLB, OBJ, USDZ, USD, PLY or STL",
    "field": "a Nerfstudio run that shows only the object, or the scene without it",
    "box": "oriented bounding boxes: JSON, and the --obb_* flags of ns-export",
}
"""By name; each lives in the module of that name."""

_OF_SUFFIX = {
    **dict.fromkeys((".glb", ".obj", ".usdz", ".usd", ".ply", ".stl"), "mesh"),
    **dict.fromkeys((".pcd", ".npz"), "pointcloud"),
    ".json": "box",
    "": "masks",
}


def kind_module(kind: str) -> ModuleType:
    """The module of a kind.

    Raises:
        SA3DError: there is no such kind.
    """
    if kind not in KINDS:
        raise SA3DError(f"unknown kind of export {kind!r}; there are: {', '.join(KINDS)}")
    return importlib.import_module(f"nerfstudio_plugin.exports.{kind}")


def export_class(kind: str | None, output: Path) -> type[ExportOptions]:
    """The class of a kind of export; without a kind, the one the output's suffix suggests.

    A folder (no suffix) suggests masks, ``.json`` boxes, ``.pcd`` and ``.npz`` point clouds; the
    formats of meshes, ``.ply`` among them, meshes.

    Raises:
        SA3DError: there is no such kind, or the suffix says nothing.
    """
    suggested = kind or _OF_SUFFIX.get(output.suffix.lower())
    if suggested is None:
        raise SA3DError(
            f"{output.name!r} does not say what to export: name a kind ({', '.join(KINDS)}), or "
            f"a file with one of {', '.join(filter(None, _OF_SUFFIX))}"
        )
    return kind_module(suggested).Export


def new_export(kind: str | None, output: Path, **options: Any) -> ExportOptions:
    """An export that is ready to write; see ``export_class``.

    Args:
        options: fields of the kind's ``Export``.

    Raises:
        SA3DError: there is no such kind, or the options cannot be.
    """
    chosen = export_class(kind, output)
    hints = get_type_hints(chosen)
    for name, value in options.items():
        known = [item.name for item in fields(chosen) if item.name != "output"]
        if name not in known:
            raise SA3DError(f"{chosen.kind} has no option {name!r}; there are: {', '.join(known)}")
        choices = get_args(hints[name]) if get_origin(hints[name]) is Literal else ()
        if choices and value not in choices:
            raise SA3DError(f"{name}={value!r} cannot be: give one of {', '.join(choices)}")
    export = chosen(output=output, **options)
    export.check()
    return export
