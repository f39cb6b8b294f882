"""Save and load a segmentation, in a folder with a version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sa3d.base.array_files import load_arrays, save_arrays
from sa3d.base.errors import SA3DError
from sa3d.base.image_files import read_image
from sa3d.base.storage import atomic_folder
from sa3d.geometry.bounds import Bounds
from sa3d.objects.events import RoundDone
from sa3d.objects.folder import (
    ARRAYS,
    FORMAT_VERSION,
    MANIFEST,
    MASKS,
    is_part,
    own_color,
    read_manifest,
)
from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import ObjectResult, Segmentation, ViewRecord
from sa3d.scene.elements import Elements, MaskGrid

_REMOVED_FROM_RECORDS = ("fold_agreement",)
"""Keys of views' records in segmentations saved before 2026-12; they are not read."""
_BITMAPS = {"mask": "", "corrected": "_corrected"}
"""Bitmaps of a view's record, and the endings of their files' names."""


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
) -> None:
    """Write ``segmentation.json``, ``elements.npz`` and ``masks/<object>/<view index>.png``.

    ``masks/<object>/<view index>_corrected.png`` has the pixels where the user overruled other
    views. The folder is written atomically: it is complete, or it does not appear.

    Args:
        provenance: any JSON values: run, data, segmenter and settings.
        overwrite: replace a segmentation saved there before.

    Raises:
        SA3DError: there are no objects, the folder may not be replaced, or the disk is full.
    """
    if not segmentation.objects:
        raise SA3DError("no object is segmented: there is nothing to save; mark one first")
    manifest = json.dumps(_to_json(segmentation, provenance or {}), indent=1, default=_plain)
    with atomic_folder(folder, overwrite=overwrite, may_delete=is_part) as temporary:
        (temporary / MANIFEST).write_text(manifest, encoding="utf-8")
        save_arrays(temporary / ARRAYS, _arrays(segmentation), compress=True)
        for name, one in segmentation.objects.items():
            for index, record in one.views.items():
                for kind in _BITMAPS:
                    if (bitmap := getattr(record, kind)) is not None:
                        write_bitmap(_bitmap_path(temporary, name, index, kind), bitmap)


def load_segmentation(folder: Path, device: str | torch.device = "cpu") -> SavedSegmentation:
    """Load a segmentation exactly as ``save_segmentation`` wrote it.

    Raises:
        SA3DError: the segmentation is missing, damaged, or of an unknown version.
    """
    manifest = read_manifest(folder)
    try:
        arrays = {k: torch.from_numpy(v) for k, v in load_arrays(folder / ARRAYS).items()}
        return SavedSegmentation(
            _from_json(manifest, arrays, folder, torch.device(device)), manifest["provenance"]
        )
    except (KeyError, TypeError, ValueError, AttributeError, SA3DError) as error:
        raise SA3DError(
            f"the segmentation in {folder} is damaged ({error}): segment again"
        ) from error


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


def _bitmap_path(folder: Path, name: str, index: int, kind: str) -> Path:
    return folder / MASKS / name / (f"{index:05d}" + _BITMAPS[kind] + ".png")


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
        "settings": {
            f.name: getattr(segmentation, f.name)
            for f in fields(Segmentation)
            if f.name not in ("scene_key", "elements", "objects")
        },
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
    values = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in _BITMAPS}
    has = {f"has_{kind}": getattr(record, kind) is not None for kind in _BITMAPS}
    return {"index": index, **has, **values}


def _from_json(
    manifest: dict[str, Any],
    arrays: dict[str, torch.Tensor],
    folder: Path,
    device: torch.device,
) -> Segmentation:
    low, high = manifest["grid"]["bounds"]["aabb"]
    bounds = Bounds(manifest["grid"]["bounds"]["kind"], (tuple(low), tuple(high)))
    elements = Elements(MaskGrid(bounds, manifest["grid"]["resolution"]), arrays["keys"].to(device))
    objects = [
        _object_from_json(entry, i, arrays, folder, device)
        for i, entry in enumerate(manifest["objects"])
    ]
    if any(len(one.evidence.total) != len(elements) for one in objects):
        raise ValueError("evidence and elements differ in number")
    return Segmentation(
        scene_key=manifest["scene_key"],
        elements=elements,
        objects={one.name: one for one in objects},
        **manifest["settings"],
    )


def _object_from_json(
    entry: dict[str, Any],
    i: int,
    arrays: dict[str, torch.Tensor],
    folder: Path,
    device: torch.device,
) -> ObjectResult:
    name = entry["name"]
    seen_held_out = [v["index"] for v in entry["views"] if v["outcome"] == "held out"]
    return ObjectResult(
        name=name,
        prompts=[
            _prompt_from_json(prompt, arrays.get(f"prompt_{i}_{j}"))
            for j, prompt in enumerate(entry["prompts"])
        ],
        evidence=Evidence(arrays[f"object_{i}"].to(device), arrays[f"total_{i}"].to(device)),
        views={view["index"]: _record_from_json(view, folder, name) for view in entry["views"]},
        rounds=[RoundDone(**done) for done in entry["rounds"]],
        converged=entry["converged"],
        verdict=entry["verdict"],
        kept_round=entry.get("kept_round", 0),
        color=own_color(entry, i),
        held_out=frozenset(entry.get("held_out", seen_held_out)),
    )


def _prompt_from_json(entry: dict[str, Any], mask: torch.Tensor | None) -> Prompt:
    values: dict[str, Any] = dict(entry)
    if "points" in values:
        values["points"] = tuple((x, y) for x, y in values["points"])
        values["labels"] = tuple(values["labels"])
    if "box" in values:
        values["box"] = tuple(values["box"])
    values["mask"] = None if mask is None else mask.numpy()
    return Prompt(**values)


def _record_from_json(entry: dict[str, Any], folder: Path, name: str) -> ViewRecord:
    values = {key: value for key, value in entry.items() if key not in _REMOVED_FROM_RECORDS}
    index = values.pop("index")
    for kind in _BITMAPS:
        there = values.pop(f"has_{kind}", False)
        values[kind] = read_bitmap(_bitmap_path(folder, name, index, kind)) if there else None
    return ViewRecord(**values)
