"""A segmentation with the run it was made in: written with its origin noted, and opened again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerfstudio_plugin.saved.overlay import overlay_sheet
from sa3d.base.storage import atomic_path
from sa3d.base.version import program_version
from sa3d.export.config import Frame
from sa3d.export.frames import Placement
from sa3d.loop.settings import Settings
from sa3d.objects.checkpoint import REPORTS, SavedSegmentation, save_segmentation
from sa3d.objects.segmentation import ObjectResult, Segmentation
from sa3d.scene.scene import Scene

if TYPE_CHECKING:
    from nerfstudio_plugin.runs.opening import Run

_REPORT, _SHEET = REPORTS


@dataclass(frozen=True)
class ExportSource:
    """A segmentation, its scene, the run behind it, and where it comes from.

    Attributes:
        provenance: as ``provenance`` notes it.
        folder: where the segmentation is saved, if it is.
    """

    run: Run
    scene: Scene
    segmentation: Segmentation
    provenance: dict[str, Any]
    folder: Path | None = None

    def placement(self, frame: Frame) -> Placement:
        """The way from the scene's world frame to the one asked for."""
        if frame == "nerfstudio":
            return Placement.nerfstudio()
        return Placement.original(self.run.dataparser_transform.numpy(), self.run.dataparser_scale)


def write_segmentation(
    made: ExportSource, folder: Path, more: Mapping[str, Any] | None = None, *, overwrite: bool
) -> dict[str, Any]:
    """Write a segmentation's folder: itself, ``results.json`` and ``overlay.png``.

    Args:
        more: goes into the report in ``results.json``.

    Returns:
        The report.

    Raises:
        SA3DError: the folder exists and may not be replaced, or the disk is full.
    """
    report = segmentation_report(made.segmentation, made.scene) | dict(more or {})
    save_segmentation(made.segmentation, folder, made.provenance, overwrite=overwrite)
    write_json(folder / _REPORT, report)
    overlay_sheet(made.scene, made.segmentation, folder / _SHEET)
    return report


def write_renamed(
    changed: SavedSegmentation, was: Path, folder: Path, *, overwrite: bool
) -> dict[str, Any] | None:
    """Write a segmentation that differs in names alone from a saved one: needs no run and no scene.

    Args:
        was: the folder of the saved one; its picture is taken over.
        folder: to write to; may be the same.

    Returns:
        The report; None if the saved one lacks its own or the picture, and nothing was written.

    Raises:
        SA3DError: the folder exists and may not be replaced, or the disk is full.
    """
    try:
        told = json.loads((was / _REPORT).read_text(encoding="utf-8"))
        sheet = (was / _SHEET).read_bytes()
        there = [one["views"] for one in told["objects"]]
        report = {key: told[key] for key in ("scene_key", "elements", "views")}
        objects = changed.segmentation.objects.values()
        report["objects"] = [_told(one, v) for one, v in zip(objects, there, strict=True)]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    save_segmentation(changed.segmentation, folder, changed.provenance, overwrite=overwrite)
    write_json(folder / _REPORT, report)
    with atomic_path(folder / _SHEET) as temporary:
        temporary.write_bytes(sheet)
    return report


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all.

    Raises:
        SA3DError: the disk is full, or the place not writable.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")


def provenance(run: Run, settings: Settings, cache_dir: Path | None) -> dict[str, Any]:
    """Where a segmentation comes from, as noted in its folder."""
    return {
        "load_config": str(Path(run.load_config).resolve()),
        "data": str(run.data.resolve()),
        "cache_dir": None if cache_dir is None else str(cache_dir.resolve()),
        "checkpoint": run.checkpoint_path.name,
        "settings": asdict(settings),
        "versions": {"sa3d": program_version(), **_versions("nerfstudio", "torch", "numpy")},
    }


def segmentation_report(segmentation: Segmentation, scene: Scene) -> dict[str, Any]:
    """What happened to every object: rounds, views and verdict, as JSON holds it."""
    return {
        "scene_key": segmentation.scene_key,
        "elements": len(segmentation.elements),
        "views": len(scene.views),
        "objects": [_object_report(one, scene) for one in segmentation.objects.values()],
    }


def _object_report(one: ObjectResult, scene: Scene) -> dict[str, Any]:
    views = {
        scene.views[index].name: {
            "outcome": record.outcome,
            "agreement": record.agreement,
            "score": record.score,
            "confidence": record.confidence,
            "reason": record.reason,
            "fold_agreement": record.fold_agreement,
        }
        for index, record in sorted(one.views.items())
    }
    return _told(one, views)


def _told(one: ObjectResult, views: Mapping[str, Any]) -> dict[str, Any]:
    """What there is to tell of an object; ``views`` by their names."""
    return {
        "name": one.name,
        "converged": one.converged,
        "verdict": one.verdict,
        "kept_round": one.kept_round,
        "cycle": one.cycle,
        "held_out_agreement": one.held_out_agreement,
        "prompts": [prompt.to_json() for prompt in one.prompts],
        "rounds": [asdict(done) for done in one.rounds],
        "views": dict(views),
    }


def _versions(*names: str) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
