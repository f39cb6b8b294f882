"""Manifests beside exports: objects, source, frame and numbers; how to write and find them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sa3d.base.errors import SA3DError
from sa3d.base.json_files import read_json
from sa3d.base.storage import atomic_path
from sa3d.export.frames import Placement
from sa3d.objects.segmentation import Segmentation

MANIFEST_SUFFIX = ".manifest.json"
"""Added to the name of an exported file or folder."""
_AXES = {
    "nerfstudio": "right-handed, +z up if the dataparser oriented the scene (its default)",
    "original": "those of the camera poses the data set came with, nothing turned",
}
_UNITS = {
    "nerfstudio": "units of the run's world: the dataparser scaled the cameras to a unit box",
    "original": "units of the camera poses the data set came with",
}


def manifest_path(output: Path) -> Path:
    """Return the manifest's path of an exported file or folder: ``ball.glb.manifest.json``."""
    return output.with_name(output.name + MANIFEST_SUFFIX)


def write_manifest(
    output: Path,
    kind: str,
    segmentation: Segmentation,
    names: Sequence[str],
    source: Mapping[str, Any],
    *,
    files: Sequence[Path] = (),
    placement: Placement | None = None,
    settings: Any = None,
    result: Mapping[str, Any] | None = None,
) -> Path:
    """Write the manifest of an export beside it; an old manifest there is replaced.

    Args:
        output: the exported file or folder.
        kind: of export: ``"mesh"``, ``"masks"`` ...
        segmentation: with the objects.
        names: of the objects in the export.
        source: origin of the segmentation: run, checkpoint and its hash, versions.
        files: all files of the export if there are several.
        placement: frame of the export, if it is in 3D.
        settings: dataclass with the settings of the export.
        result: numbers that describe the export.

    Returns:
        The path of the manifest.

    Raises:
        SA3DError: the file cannot be written.
    """
    content: dict[str, Any] = {
        "version": 1,
        "kind": kind,
        "files": [str(path.relative_to(output.parent)) for path in files or [output]],
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "source": dict(source),
        "threshold": segmentation.threshold,
        "objects": [_described(segmentation, name) for name in names],
    }
    if placement is not None:
        content["frame"] = {
            "name": placement.frame,
            "axes": _AXES[placement.frame],
            "units": _UNITS[placement.frame],
            "world_to_frame": placement.matrix.tolist(),
        }
    if is_dataclass(settings) and not isinstance(settings, type):
        content["settings"] = asdict(settings)
    if result is not None:
        content["result"] = dict(result)
    path = manifest_path(output)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
    return path


def _described(segmentation: Segmentation, name: str) -> dict[str, Any]:
    one = segmentation.object(name)
    return {
        "name": name,
        "label": list(segmentation.objects).index(name),
        "color": segmentation.colors[name],
        "prompts": [prompt.to_json() for prompt in one.prompts],
        "rounds": len(one.rounds),
        "converged": one.converged,
        "verdict": one.verdict,
    }


_LEVELS = ("*.manifest.json", "*/*.manifest.json", "*/*/*.manifest.json")


@dataclass(frozen=True)
class FoundExport:
    """An export with a manifest.

    Attributes:
        kind: of export: ``"mesh"``, ``"masks"`` ...
        objects: names of the objects in it.
        path: the file or folder.
        size: of all its files, in bytes.
        frame: original or nerfstudio; empty for exports in 2D.
        numbers: the ``result`` of the manifest.
    """

    kind: str
    objects: list[str]
    path: Path
    size: int
    frame: str
    numbers: dict[str, Any]


def find_exports(segmentation: Path, folders: Iterable[Path]) -> list[FoundExport]:
    """Find the exports of a saved segmentation, up to two levels below the given folders.

    Manifests that cannot be read, and those of other segmentations, are skipped.

    Args:
        segmentation: folder of the saved segmentation.
        folders: where to look.
    """
    paths = {p.resolve() for folder in folders for level in _LEVELS for p in folder.glob(level)}
    found = [_read(path, segmentation.resolve()) for path in sorted(paths)]
    return [export for export in found if export is not None]


def _read(path: Path, segmentation: Path) -> FoundExport | None:
    try:
        manifest = read_json(path)
        if Path(manifest["source"]["segmentation"]) != segmentation or manifest["kind"] == "report":
            return None
        output = path.with_name(path.name.removesuffix(".manifest.json"))
        places = {output, *(path.parent / name for name in manifest["files"])}
        return FoundExport(
            kind=manifest["kind"],
            objects=[one["name"] for one in manifest["objects"]],
            path=output,
            size=sum(file.stat().st_size for file in _files(places)),
            frame=manifest.get("frame", {}).get("name", ""),
            numbers=manifest.get("result") or {},
        )
    except (SA3DError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _files(places: Iterable[Path]) -> set[Path]:
    inside = {child for place in places if place.is_dir() for child in place.rglob("*")}
    return {place for place in {*places, *inside} if place.is_file()}
