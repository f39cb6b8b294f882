"""The folder of a saved segmentation: its files, its manifest, and a summary read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sa3d.base.array_files import load_arrays
from sa3d.base.errors import SA3DError
from sa3d.base.json_files import read_json
from sa3d.base.storage import check_new_folder
from sa3d.objects.colors import Color, object_color, object_colors
from sa3d.objects.events import RoundDone

FORMAT_VERSION = 2
"""Version 1 lacks the reasons for the views' outcomes, and the outcome of the loop."""
_READABLE = (1, 2)

MANIFEST = "segmentation.json"
ARRAYS = "elements.npz"
MASKS = "masks"
REPORTS = ("results.json", "overlay.png")
"""Written beside the segmentation by the command line; replaced together with it."""


@dataclass(frozen=True)
class ObjectSummary:
    """One object of a saved segmentation.

    Attributes:
        elements: number of elements with the object's label.
        prompts: number of the object's prompts.
    """

    name: str
    color: Color
    elements: int
    prompts: int
    verdict: str
    rounds: tuple[RoundDone, ...]


@dataclass(frozen=True)
class SegmentationSummary:
    """Summary of a saved segmentation; ``provenance`` is as it was saved."""

    objects: tuple[ObjectSummary, ...]
    provenance: dict[str, Any]


def is_segmentation(folder: Path) -> bool:
    """Return whether a segmentation is saved in a folder; it may still be damaged."""
    return (folder / MANIFEST).is_file()


def refuse_to_replace(folder: Path, *, overwrite: bool) -> None:
    """Check that ``save_segmentation`` may write a folder, before any work is done.

    Raises:
        SA3DError: the folder exists and may not be replaced.
    """
    check_new_folder(folder, overwrite, is_part)


def is_part(entry: Path) -> bool:
    """Return whether a file or folder is part of a saved segmentation."""
    return entry.name in (MANIFEST, ARRAYS, MASKS, *REPORTS)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read ``segmentation.json``.

    Raises:
        SA3DError: the file is missing, damaged, or has a format that this version does not read.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise SA3DError(f"no segmentation in {folder}: {MANIFEST} is missing")
    try:
        manifest = read_json(path)
    except SA3DError as error:
        raise SA3DError(
            f"the segmentation in {folder} is damaged ({error}): segment again"
        ) from error
    version = manifest.get("version") if isinstance(manifest, dict) else None
    if version not in _READABLE:
        raise SA3DError(
            f"the segmentation in {folder} has format {version!r}, this program reads "
            f"{' and '.join(map(str, _READABLE))}: segment again, or use the version that wrote it"
        )
    return manifest


def own_color(entry: dict[str, Any], number: int) -> Color:
    """Return the color of the object at place ``number`` from its entry in the manifest."""
    color = entry.get("color", entry.get("colour"))  # segmentations saved before 2026-12
    red, green, blue = color or object_color(number)
    return red, green, blue


def read_summary(folder: Path) -> SegmentationSummary:
    """Read the summary of a saved segmentation, as ``sa3d info`` prints it.

    Neither torch nor the views' masks are loaded, so this takes a tenth of the time of
    ``load_segmentation``.

    Raises:
        SA3DError: the segmentation is missing, damaged, or of another version.
    """
    manifest = read_manifest(folder)
    try:
        entries = manifest["objects"]
        counts = _label_counts(manifest["settings"], load_arrays(folder / ARRAYS), len(entries))
        named = {entry["name"]: own_color(entry, i) for i, entry in enumerate(entries)}
        colors = object_colors(named)
        objects = [
            ObjectSummary(
                name=entry["name"],
                color=colors[entry["name"]],
                elements=count,
                prompts=len(entry["prompts"]),
                verdict=entry["verdict"],
                rounds=tuple(RoundDone(**done) for done in entry["rounds"]),
            )
            for entry, count in zip(entries, counts, strict=True)
        ]
        return SegmentationSummary(tuple(objects), manifest["provenance"])
    except (KeyError, TypeError, ValueError, AttributeError, SA3DError) as error:
        raise SA3DError(
            f"the segmentation in {folder} is damaged ({error}): segment again"
        ) from error


def _label_counts(settings: dict[str, Any], arrays: dict[str, Any], count: int) -> list[int]:
    """Count the elements of each label: ``Segmentation.labels`` in numpy, in the same order."""
    import numpy as np

    prior, weight, lam = settings["prior"], settings["prior_weight"], settings.get("lam", 1.0)
    shares = np.zeros((count, len(arrays["keys"])), dtype=np.float32)
    for i in range(count):
        evidence, total = arrays[f"object_{i}"], arrays[f"total_{i}"]
        shares[i] = np.where(total > 0, (evidence + prior * weight) / (total + weight), 0)
    if not count:
        return []
    best, label = shares.max(axis=0), shares.argmax(axis=0)
    labelled = label[best > np.float32(lam / (1 + lam))]
    return np.bincount(labelled, minlength=count).tolist()
