"""Kinds of export: one module for each, with ``Export`` (options and writer) and ``HELP``.

``sa3d export``, ``obj.export`` of the Python API, and batch jobs use these classes. Their fields
are the options, and ``ExportOptions.write`` writes the export.
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
"""Kinds by name; each has a module of that name."""

_OF_SUFFIX = {
    **dict.fromkeys((".glb", ".obj", ".usdz", ".usd", ".ply", ".stl"), "mesh"),
    **dict.fromkeys((".pcd", ".npz"), "pointcloud"),
    ".json": "box",
    "": "masks",
}


def kind_module(kind: str) -> ModuleType:
    """Return the module of a kind of export.

    Raises:
        SA3DError: there is no such kind.
    """
    if kind not in KINDS:
        raise SA3DError(f"unknown kind of export {kind!r}: use one of {', '.join(KINDS)}")
    return importlib.import_module(f"nerfstudio_plugin.exports.{kind}")


def export_class(kind: str | None, output: Path) -> type[ExportOptions]:
    """Return the class of a kind of export; without a kind, choose by the suffix of the output.

    A folder (no suffix) stands for masks, ``.json`` for boxes, ``.pcd`` and ``.npz`` for point
    clouds, and the suffixes of mesh formats, also ``.ply``, for meshes.

    Raises:
        SA3DError: there is no such kind, or the suffix stands for none.
    """
    suggested = kind or _OF_SUFFIX.get(output.suffix.lower())
    if suggested is None:
        raise SA3DError(
            f"no kind of export for {output.name!r}: name a kind ({', '.join(KINDS)}), or use one "
            f"of the suffixes {', '.join(filter(None, _OF_SUFFIX))}"
        )
    return kind_module(suggested).Export


def new_export(kind: str | None, output: Path, **options: Any) -> ExportOptions:
    """Make and check an export; see ``export_class``.

    Args:
        kind: of export, or None to choose by the suffix.
        output: file or folder to write.
        options: fields of the kind's ``Export``.

    Raises:
        SA3DError: there is no such kind, or an option is wrong.

    Example:
        >>> export = new_export("mesh", Path("mug.glb"), frame="nerfstudio")
    """
    chosen = export_class(kind, output)
    hints = get_type_hints(chosen)
    for name, value in options.items():
        known = [item.name for item in fields(chosen) if item.name != "output"]
        if name not in known:
            raise SA3DError(f"{chosen.kind} has no option {name!r}: use {', '.join(known)}")
        choices = get_args(hints[name]) if get_origin(hints[name]) is Literal else ()
        if choices and value not in choices:
            raise SA3DError(f"{name}={value!r} is not allowed: use one of {', '.join(choices)}")
    export = chosen(output=output, **options)
    export.check()
    return export
