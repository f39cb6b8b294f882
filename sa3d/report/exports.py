"""The exports of a segmentation, found by the manifests beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LEVELS = ("*.manifest.json", "*/*.manifest.json", "*/*/*.manifest.json")


@dataclass(frozen=True)
class FoundExport:
    """One export.

    Attributes:
        kind: as on the command line.
        objects: names of the objects in it.
        path: the file or folder.
        size: of all its files, in bytes.
        frame: original or nerfstudio; empty for pictures.
        numbers: what its manifest says about the result.
    """

    kind: str
    objects: list[str]
    path: Path
    size: int
    frame: str
    numbers: dict[str, Any]


def find_exports(segmentation: Path, folders: Iterable[Path]) -> list[FoundExport]:
    """Exports of the segmentation saved in a folder, up to two folders below some folders.

    Manifests that cannot be read, or of other segmentations, are passed over.
    """
    paths = {p.resolve() for folder in folders for level in _LEVELS for p in folder.glob(level)}
    found = [_read(path, segmentation.resolve()) for path in sorted(paths)]
    return [export for export in found if export is not None]


def _read(path: Path, segmentation: Path) -> FoundExport | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if Path(told["source"]["segmentation"]) != segmentation or told["kind"] == "report":
            return None
        output = path.with_name(path.name.removesuffix(".manifest.json"))
        places = {output, *(path.parent / name for name in told["files"])}
        return FoundExport(
            kind=told["kind"],
            objects=[one["name"] for one in told["objects"]],
            path=output,
            size=sum(file.stat().st_size for file in _files(places)),
            frame=told.get("frame", {}).get("name", ""),
            numbers=told.get("result") or {},
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _files(places: Iterable[Path]) -> set[Path]:
    inside = {child for place in places if place.is_dir() for child in place.rglob("*")}
    return {place for place in {*places, *inside} if place.is_file()}
