"""``sa3d export``: a segmentation as something other programs open."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from nerfstudio_plugin.cli_options import parse
from nerfstudio_plugin.cli_progress import OUT
from sa3d.errors import SA3DError

KINDS = {
    "masks": "a mask of every photograph: PNG, RGBA, label maps, COCO, for COLMAP, for ns-train",
    "pointcloud": "points with colour, normal, label and probability: PLY, PCD or NPZ",
    "mesh": "a textured, watertight triangle mesh: GLB, OBJ, USDZ, USD, PLY or STL",
    "field": "a Nerfstudio run that shows only the object, or the scene without it",
    "box": "oriented bounding boxes: JSON, and the --obb_* flags of ns-export",
}
"""Kinds of export; each lives in a module ``cli_export_<kind>`` with ``Export`` and ``HELP``."""

_OVERVIEW = """usage: sa3d export KIND --segmentation DIR --output PLACE [OPTIONS]

kinds:
{kinds}

  sa3d export KIND --help   all options of a kind

Beside every export lies <output>.manifest.json: checkpoint, prompts, threshold, frame, units.
"""


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d export``.

    Raises:
        SA3DError: something the user can put right.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        OUT.print(_OVERVIEW.format(kinds="\n".join(f"  {k:<11} {v}" for k, v in KINDS.items())))
        return
    kind = arguments[0]
    if kind not in KINDS:
        raise SA3DError(f"unknown kind of export {kind!r}; there are: {', '.join(KINDS)}")
    module = importlib.import_module(f"nerfstudio_plugin.cli_export_{kind}")
    command = parse(module.Export, arguments[1:], f"sa3d export {kind}", module.HELP)
    command.write_report(command.run())
