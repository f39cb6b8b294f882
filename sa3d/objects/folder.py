"""The folder of a saved segmentation: its files, its manifest, and a summary read without torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, cast

from sa3d.base.array_files import ArrayKind, ascending, load_arrays
from sa3d.base.errors import SA3DError
from sa3d.base.file_hash import file_sha256
from sa3d.base.json_files import read_json
from sa3d.base.ranges import NOT_NEGATIVE, POSITIVE, SHARE, Within
from sa3d.base.storage import check_new_folder
from sa3d.base.transaction import recover
from sa3d.base.typed_values import check_value
from sa3d.objects.colors import Color, object_color, object_colors
from sa3d.objects.events import Outcome, RoundDone
from sa3d.objects.names import check_object_name
from sa3d.scene.config import MAX_RESOLUTION

if TYPE_CHECKING:
    import numpy as np

FORMAT_VERSION = 2
"""Version 1 lacks the reasons for the views' outcomes, and the outcome of the loop."""
_READABLE = (1, 2)
_ROUNDING = 0.01
"""Votes are added and subtracted in single precision; the sums may differ by this share, or by this
share of the vote of a pixel."""

MANIFEST = "segmentation.json"
ARRAYS = "elements.npz"
MASKS = "masks"
REPORTS = ("results.json", "overlay.png")
"""Written beside the segmentation by the command line; replaced together with it."""

_SHARE = Annotated[float, SHARE]
_AMOUNT = Annotated[float, NOT_NEGATIVE]
_INDEX = Annotated[int, Within(0, 99_999)]
"""Index of a view: five digits in the names of its bitmaps."""
_CHANNEL = Annotated[int, Within(0, 255)]
SavedColor = tuple[_CHANNEL, _CHANNEL, _CHANNEL]
"""Type of a color in JSON, for ``check_value``."""
_CORNER = tuple[float, float, float]


class _Bounds(TypedDict):
    kind: Literal["box", "contracted", "contracted-l2"]
    aabb: tuple[_CORNER, _CORNER]


class _Grid(TypedDict):
    resolution: Annotated[int, Within(1, MAX_RESOLUTION)]
    bounds: _Bounds


class _NeededSettings(TypedDict):
    prior: _SHARE
    prior_weight: _AMOUNT


class _Settings(_NeededSettings, total=False):
    lam: Annotated[float, POSITIVE]


class _NeededView(TypedDict):
    index: _INDEX
    outcome: Outcome
    agreement: float
    score: float
    confidence: _AMOUNT


class _View(_NeededView, total=False):
    has_mask: bool
    has_corrected: bool
    reason: str


class _NeededObject(TypedDict):
    name: str
    prompts: list[dict[str, Any]]
    views: list[_View]
    rounds: list[RoundDone]
    converged: bool
    verdict: str


class _Object(_NeededObject, total=False):
    kept_round: _INDEX
    held_out: list[_INDEX]
    color: SavedColor | None
    colour: SavedColor | None  # in segmentations saved before 2026-12


class _NeededManifest(TypedDict):
    provenance: dict[str, Any]
    scene_key: str
    grid: _Grid
    settings: _Settings
    objects: Annotated[list[_Object], Within(1)]


class Manifest(_NeededManifest, total=False):
    """Content of ``segmentation.json``; ``files`` has a hash for each other file of the folder."""

    files: dict[str, str]


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


def manifest_digest(folder: Path) -> str:
    """Return a hash of ``segmentation.json``, which differs after every change of the folder.

    Raises:
        SA3DError: the file cannot be read.
    """
    try:
        return file_sha256(folder / MANIFEST)
    except OSError as error:
        raise SA3DError(f"cannot read {folder / MANIFEST}: {error.strerror}") from error


def refuse_to_replace(folder: Path, *, overwrite: bool) -> None:
    """Check that ``save_segmentation`` may write a folder, before any work is done.

    Raises:
        SA3DError: the folder exists and may not be replaced.
    """
    check_new_folder(folder, overwrite, is_part)


def is_part(entry: Path) -> bool:
    """Return whether a file or folder is part of a saved segmentation."""
    return entry.name in (MANIFEST, ARRAYS, MASKS, *REPORTS)


def read_manifest(folder: Path) -> Manifest:
    """Read ``segmentation.json``; all that it must have is there, and of the right type.

    Raises:
        SA3DError: the file is missing, damaged, or has a format that this version does not read.
    """
    path = folder / MANIFEST
    recover(Path(os.path.realpath(folder)).parent)
    if not path.exists():
        raise SA3DError(f"no segmentation in {folder}: {MANIFEST} is missing")
    try:
        manifest = read_json(path)
    except SA3DError as error:
        raise damaged(folder, error) from error
    version = manifest.get("version") if isinstance(manifest, dict) else None
    if version not in _READABLE:
        raise SA3DError(
            f"the segmentation in {folder} has format {version!r}, this program reads "
            f"{' and '.join(map(str, _READABLE))}: segment again, or use the version that wrote it"
        )
    try:
        check_value(manifest, Manifest)
        _check_once([entry["name"] for entry in manifest["objects"]], "object")
        for entry in manifest["objects"]:
            _check_once([view["index"] for view in entry["views"]], "record of view")
        low, high = manifest["grid"]["bounds"]["aabb"]
        if not all(a < b for a, b in zip(low, high, strict=True)):
            raise ValueError("the box of its grid is empty")
    except ValueError as error:
        raise damaged(folder, error) from error
    for entry in manifest["objects"]:
        try:
            check_object_name(entry["name"])
        except SA3DError as error:
            raise SA3DError(
                f"the segmentation in {folder} has an {error}; write another name into {MANIFEST}, "
                f"and give the object's folder in {MASKS} the same name"
            ) from error
    return cast("Manifest", manifest)


def damaged(folder: Path, reason: object) -> SA3DError:
    """Return the error of a segmentation that cannot be loaded."""
    return SA3DError(f"the segmentation in {folder} is damaged ({reason}): segment again")


def read_elements(folder: Path, manifest: Manifest) -> dict[str, np.ndarray]:
    """Read ``elements.npz``.

    Returns:
        ``keys`` int64 [N], ascending keys of voxels; for the object at place i ``object_i`` and
        ``total_i``, float32 [N], with 0 <= object <= total up to rounding; and ``prompt_i_j``
        [H, W], the mask of its prompt at place j, if it has one.

    Raises:
        SA3DError: the file is missing or damaged, or is not the one that was saved.
    """
    import numpy as np

    expected: dict[str, ArrayKind] = {"keys": ("int64", ("N",))}
    masks: dict[str, ArrayKind] = {}
    for i, entry in enumerate(manifest["objects"]):
        expected |= {f"{kind}_{i}": ("float32", ("N",)) for kind in ("object", "total")}
        masks |= {f"prompt_{i}_{j}": ("", (None, None)) for j in range(len(entry["prompts"]))}
    check_file(folder, manifest, ARRAYS)
    arrays = load_arrays(folder / ARRAYS, expected, masks)
    keys, voxels = arrays["keys"], manifest["grid"]["resolution"] ** 3
    if not ascending(keys, voxels):
        raise damaged(folder, f"the keys in {ARRAYS} are not those of voxels, in order")
    for i in range(len(manifest["objects"])):
        claim, total = arrays[f"object_{i}"], arrays[f"total_{i}"]
        if not np.all((claim >= 0) & (claim <= total + _ROUNDING * np.maximum(total, 1))):
            raise damaged(folder, f"evidence in {ARRAYS} is below 0 or above the total")
    return arrays


def check_file(folder: Path, manifest: Manifest, name: str) -> None:
    """Check that a file is the one that was saved; older manifests do not list their files.

    Raises:
        SA3DError: the file is missing or another one.
    """
    if "files" not in manifest:
        return
    try:
        same = manifest["files"].get(name) == file_sha256(folder / name)
    except OSError as error:
        raise damaged(folder, f"cannot read {name}: {error.strerror}") from error
    if not same:
        raise damaged(folder, f"{name} is not the file that was saved with it")


def _check_once(values: Sequence[object], what: str) -> None:
    """Check that no value is there twice.

    Raises:
        ValueError: a value is.
    """
    if len(set(values)) < len(values):
        twice = next(one for one in values if values.count(one) > 1)
        raise ValueError(f"the {what} {twice!r} is there twice")


def own_color(entry: _Object, number: int) -> Color:
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
    entries = manifest["objects"]
    arrays = read_elements(folder, manifest)
    counts = _label_counts(manifest["settings"], arrays, len(entries))
    colors = object_colors({entry["name"]: own_color(entry, i) for i, entry in enumerate(entries)})
    objects = [
        ObjectSummary(
            name=entry["name"],
            color=colors[entry["name"]],
            elements=count,
            prompts=len(entry["prompts"]),
            verdict=entry["verdict"],
            rounds=rounds_of(entry),
        )
        for entry, count in zip(entries, counts, strict=True)
    ]
    return SegmentationSummary(tuple(objects), manifest["provenance"])


def rounds_of(entry: _Object) -> tuple[RoundDone, ...]:
    """Return the reports of an object's rounds."""
    names = [item.name for item in fields(RoundDone)]
    return tuple(
        RoundDone(**{name: done[name] for name in names if name in done})
        for done in cast("list[dict[str, Any]]", entry["rounds"])
    )


def _label_counts(settings: _Settings, arrays: dict[str, Any], count: int) -> list[int]:
    """Count the elements of each label: ``Segmentation.labels`` in numpy, in the same order."""
    import numpy as np

    prior, weight, lam = settings["prior"], settings["prior_weight"], settings.get("lam", 1.0)
    shares = np.zeros((count, len(arrays["keys"])), dtype=np.float32)
    for i in range(count):
        evidence, total = arrays[f"object_{i}"], arrays[f"total_{i}"]
        shares[i] = np.where(total > 0, (evidence + prior * weight) / (total + weight), 0)
    best, label = shares.max(axis=0), shares.argmax(axis=0)
    labelled = label[best > np.float32(lam / (1 + lam))]
    return np.bincount(labelled, minlength=count).tolist()
