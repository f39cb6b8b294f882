"""Save and load a segmentation, in a folder with a version."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sa3d.base.array_files import save_arrays
from sa3d.base.errors import SA3DError
from sa3d.base.file_hash import file_sha256
from sa3d.base.image_files import read_image
from sa3d.base.storage import atomic_folder
from sa3d.geometry.bounds import Bounds
from sa3d.objects.folder import (
    ARRAYS,
    FORMAT_VERSION,
    MANIFEST,
    MASKS,
    Manifest,
    check_file,
    damaged,
    is_part,
    own_color,
    read_elements,
    read_manifest,
    rounds_of,
)
from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.names import DEFAULT_OBJECT
from sa3d.objects.prompts import Prompt, PromptKeywords
from sa3d.objects.segmentation import ObjectResult, Segmentation, ViewRecord
from sa3d.scene.elements import Elements, MaskGrid

_BITMAPS = {"mask": "", "corrected": "_corrected"}
"""Bitmaps of a view's record, and the endings of their files' names."""
_RECORD = [item.name for item in fields(ViewRecord) if item.name not in _BITMAPS]
_SETTINGS = [
    item.name
    for item in fields(Segmentation)
    if item.name not in ("scene_key", "elements", "objects")
]


@dataclass(frozen=True)
class SavedSegmentation:
    """Loaded segmentation, with its provenance: run, data, segmenter and settings."""

    segmentation: Segmentation
    provenance: dict[str, Any] = field(default_factory=dict)


def save_segmentation(
    segmentation: Segmentation,
    folder: Path,
    provenance: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Write ``segmentation.json``, ``elements.npz`` and ``masks/<object>/<view index>.png``.

    ``masks/<object>/<view index>_corrected.png`` has the pixels where the user overruled other
    views. The folder is written atomically: it is complete, or it does not appear.

    Args:
        provenance: any JSON values: run, data, segmenter and settings.
        overwrite: replace a segmentation saved there before.
        beside: writes ``REPORTS`` into the folder that it is called with, before that folder takes
            its place.

    Raises:
        SA3DError: there are no objects, the folder may not be replaced, or the disk is full.
    """
    if not segmentation.objects:
        raise SA3DError("no object is segmented: there is nothing to save; mark one first")
    manifest = _to_json(segmentation, provenance or {})
    json.dumps(manifest, default=_plain)  # raises now if a value cannot be saved
    with atomic_folder(folder, overwrite=overwrite, may_delete=is_part) as temporary:
        save_arrays(temporary / ARRAYS, _arrays(segmentation), compress=True)
        files = [ARRAYS]
        for name, one in segmentation.objects.items():
            for index, record in one.views.items():
                for kind in _BITMAPS:
                    if (bitmap := getattr(record, kind)) is not None:
                        files.append(_bitmap_path(name, index, kind))
                        write_bitmap(temporary / files[-1], bitmap)
        manifest["files"] = {file: file_sha256(temporary / file) for file in files}
        text = json.dumps(manifest, indent=1, default=_plain)
        (temporary / MANIFEST).write_text(text, encoding="utf-8")
        if beside is not None:
            beside(temporary)


def load_segmentation(folder: Path, device: str | torch.device = "cpu") -> SavedSegmentation:
    """Load a segmentation exactly as ``save_segmentation`` wrote it.

    It is loaded again if another program replaces it meanwhile.

    Raises:
        SA3DError: the segmentation is missing, damaged, or of an unknown version.
    """
    manifest = read_manifest(folder)
    try:
        return _load(folder, manifest, torch.device(device))
    except SA3DError:
        if read_manifest(folder) == manifest:
            raise
    return load_segmentation(folder, device)


def _load(folder: Path, manifest: Manifest, device: torch.device) -> SavedSegmentation:
    arrays = read_elements(folder, manifest)
    try:
        return SavedSegmentation(
            _from_json(manifest, arrays, folder, device), manifest["provenance"]
        )
    except (ValueError, SA3DError) as error:
        raise damaged(folder, error) from error


def write_bitmap(path: Path, mask: np.ndarray) -> None:
    """Write a mask, bool [H, W], as a 1-bit PNG."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(mask, dtype=bool)).save(path)


def read_bitmap(path: Path) -> np.ndarray:
    """Read a 1-bit PNG, bool [H, W].

    Raises:
        SA3DError: the file is missing or damaged.
    """
    return np.array(read_image(path, "mask").convert("1"), dtype=bool)


def _bitmap_path(name: str, index: int, kind: str) -> str:
    """Return the path of a bitmap in the segmentation's folder."""
    return f"{MASKS}/{name}/{index:05d}{_BITMAPS[kind]}.png"


def _plain(value: Any) -> Any:
    """Convert NumPy numbers and paths to JSON values."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be saved in a segmentation")


def _arrays(segmentation: Segmentation) -> dict[str, np.ndarray]:
    arrays = {"keys": segmentation.elements.keys.cpu().numpy()}
    for i, one in enumerate(segmentation.objects.values()):
        arrays[f"object_{i}"] = one.evidence.object.cpu().numpy()
        arrays[f"total_{i}"] = one.evidence.total.cpu().numpy()
        for j, prompt in enumerate(one.prompts):
            if (mask := prompt.drawn_mask()) is not None:  # the folder then needs no other file
                arrays[f"prompt_{i}_{j}"] = mask
    return arrays


def _to_json(segmentation: Segmentation, provenance: Mapping[str, Any]) -> dict[str, Any]:
    grid = segmentation.elements.grid
    return {
        "version": FORMAT_VERSION,
        "provenance": dict(provenance),
        "scene_key": segmentation.scene_key,
        "grid": {"resolution": grid.resolution, "bounds": asdict(grid.bounds)},
        "settings": {key: getattr(segmentation, key) for key in _SETTINGS},
        "objects": [
            _object_to_json(one) | {"color": segmentation.colors[name]}
            for name, one in segmentation.objects.items()
        ],
    }


def _object_to_json(one: ObjectResult) -> dict[str, Any]:
    return {
        "name": one.name,
        "prompts": [prompt.to_json() for prompt in one.prompts],
        "views": [_record_to_json(index, record) for index, record in one.views.items()],
        "rounds": [asdict(done) for done in one.rounds],
        "converged": one.converged,
        "verdict": one.verdict,
        "kept_round": one.kept_round,
        "held_out": sorted(one.held_out),
    }


def _record_to_json(index: int, record: ViewRecord) -> dict[str, Any]:
    values = {key: getattr(record, key) for key in _RECORD}
    has = {f"has_{kind}": getattr(record, kind) is not None for kind in _BITMAPS}
    return {"index": index, **has, **values}


def _from_json(
    manifest: Manifest, arrays: dict[str, np.ndarray], folder: Path, device: torch.device
) -> Segmentation:
    (x0, y0, z0), (x1, y1, z1) = manifest["grid"]["bounds"]["aabb"]
    bounds = Bounds(manifest["grid"]["bounds"]["kind"], ((x0, y0, z0), (x1, y1, z1)))
    elements = Elements(
        MaskGrid(bounds, manifest["grid"]["resolution"]),
        torch.from_numpy(arrays["keys"]).to(device),
    )
    objects = [
        _object_from_json(manifest, i, arrays, folder, device)
        for i in range(len(manifest["objects"]))
    ]
    settings = manifest["settings"]
    return Segmentation(
        scene_key=manifest["scene_key"],
        elements=elements,
        objects={one.name: one for one in objects},
        **{key: settings[key] for key in _SETTINGS if key in settings},
    )


def _object_from_json(
    manifest: Manifest,
    i: int,
    arrays: dict[str, np.ndarray],
    folder: Path,
    device: torch.device,
) -> ObjectResult:
    entry = manifest["objects"][i]
    seen_held_out = [v["index"] for v in entry["views"] if v["outcome"] == "held out"]
    return ObjectResult(
        name=entry["name"],
        prompts=[
            _prompt_from_json(prompt, arrays.get(f"prompt_{i}_{j}"))
            for j, prompt in enumerate(entry["prompts"])
        ],
        evidence=Evidence(
            *(torch.from_numpy(arrays[f"{kind}_{i}"]).to(device) for kind in ("object", "total"))
        ),
        views={
            view["index"]: _record_from_json(manifest, folder, entry["name"], view)
            for view in entry["views"]
        },
        rounds=list(rounds_of(entry)),
        converged=entry["converged"],
        verdict=entry["verdict"],
        kept_round=entry.get("kept_round", 0),
        color=own_color(entry, i),
        held_out=frozenset(entry.get("held_out", seen_held_out)),
    )


def _prompt_from_json(entry: dict[str, Any], mask: np.ndarray | None) -> Prompt:
    """Make a saved prompt; its mask is among the arrays.

    Raises:
        SA3DError: a value is invalid.
    """
    keywords: Any = {key: entry[key] for key in PromptKeywords.__optional_keys__ & entry.keys()}
    keywords["mask"] = mask
    view = entry.get("view")
    if not isinstance(view, str):
        raise SA3DError("a prompt has no view")
    return Prompt.from_keywords(view, entry.get("object", DEFAULT_OBJECT), **keywords)


def _record_from_json(
    manifest: Manifest, folder: Path, name: str, view: Mapping[str, Any]
) -> ViewRecord:
    values = {key: view[key] for key in _RECORD if key in view}
    for kind in _BITMAPS:
        if view.get(f"has_{kind}", False):
            file = _bitmap_path(name, view["index"], kind)
            check_file(folder, manifest, file)
            values[kind] = read_bitmap(folder / file)
    return ViewRecord(**values)
