"""The folder of a saved segmentation: the segmentation, its provenance, a report, an overlay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerfstudio_plugin.saved.folder_lock import locked
from nerfstudio_plugin.saved.overlay import overlay_sheet
from sa3d.base.errors import SA3DError
from sa3d.base.json_files import read_json
from sa3d.base.storage import write_json
from sa3d.base.version import program_version
from sa3d.export.config import Frame
from sa3d.export.frames import Placement
from sa3d.loop.settings import Settings
from sa3d.objects.checkpoint import SavedSegmentation, save_segmentation
from sa3d.objects.folder import REPORTS
from sa3d.objects.segmentation import ObjectResult, Segmentation
from sa3d.scene.scene import Scene

if TYPE_CHECKING:
    from nerfstudio_plugin.runs.opening import Run

_REPORT, _SHEET = REPORTS


@dataclass(frozen=True)
class ExportSource:
    """A segmentation with its scene and its run, as exporters take it.

    Attributes:
        run: the run that the segmentation was made in.
        scene: the views, and what was evaluated of the field.
        segmentation: the objects.
        provenance: see ``provenance``.
        folder: where the segmentation is saved, if it is.
    """

    run: Run
    scene: Scene
    segmentation: Segmentation
    provenance: dict[str, Any]
    folder: Path | None = None

    def placement(self, frame: Frame) -> Placement:
        """Return the transform from the world frame to a frame."""
        if frame == "nerfstudio":
            return Placement.nerfstudio()
        return Placement.original(self.run.dataparser_transform.numpy(), self.run.dataparser_scale)


def write_segmentation(
    made: ExportSource, folder: Path, more: Mapping[str, Any] | None = None, *, overwrite: bool
) -> dict[str, Any]:
    """Write a segmentation with ``results.json`` and ``overlay.png`` to a folder.

    Args:
        made: the segmentation.
        folder: to write to.
        more: added to the report in ``results.json``.
        overwrite: replace a segmentation that is there already.

    Returns:
        The report.

    Raises:
        SA3DError: the folder exists and may not be replaced, or the disk is full.
    """
    report = segmentation_report(made.segmentation, made.scene) | dict(more or {})
    saved = SavedSegmentation(made.segmentation, made.provenance)

    def write_sheet(path: Path) -> None:
        overlay_sheet(made.scene, made.segmentation, path)

    _save(saved, folder, report, write_sheet, overwrite=overwrite)
    return report


def write_renamed(
    changed: SavedSegmentation, old_folder: Path, folder: Path, *, overwrite: bool
) -> dict[str, Any] | None:
    """Write a segmentation that differs from a saved one in names alone; needs no run, no scene.

    Args:
        changed: the segmentation with new names.
        old_folder: folder of the saved one; its ``overlay.png`` is copied.
        folder: to write to; may be the same.
        overwrite: replace a segmentation that is there already.

    Returns:
        The report; None if the saved one has no report or no overlay: nothing is written then.

    Raises:
        SA3DError: the folder exists and may not be replaced, or the disk is full.
    """
    try:
        old = read_json(old_folder / _REPORT)
        sheet = (old_folder / _SHEET).read_bytes()
        views = [one["views"] for one in old["objects"]]
        report = {key: old[key] for key in ("scene_key", "elements", "views")}
        objects = changed.segmentation.objects.values()
        report["objects"] = [_object_entry(one, v) for one, v in zip(objects, views, strict=True)]
    except (SA3DError, OSError, ValueError, LookupError, TypeError):
        return None
    _save(changed, folder, report, lambda path: path.write_bytes(sheet), overwrite=overwrite)
    return report


def _save(
    saved: SavedSegmentation,
    folder: Path,
    report: Mapping[str, Any],
    write_sheet: Callable[[Path], object],
    *,
    overwrite: bool,
) -> None:
    """Save a segmentation, its report and its overlay as one, while no other program does."""

    def beside(temporary: Path) -> None:
        write_json(temporary / _REPORT, report)
        write_sheet(temporary / _SHEET)

    with locked(folder):
        save_segmentation(
            saved.segmentation, folder, saved.provenance, overwrite=overwrite, beside=beside
        )


def provenance(run: Run, settings: Settings, cache_dir: Path | None) -> dict[str, Any]:
    """Return where a segmentation comes from: run, data, settings, versions; as JSON."""
    return {
        "load_config": str(Path(run.load_config).resolve()),
        "data": str(run.data.resolve()),
        "cache_dir": None if cache_dir is None else str(cache_dir.resolve()),
        "checkpoint": run.checkpoint_path.name,
        "settings": asdict(settings),
        "versions": {"sa3d": program_version(), **_versions("nerfstudio", "torch", "numpy")},
    }


def segmentation_report(segmentation: Segmentation, scene: Scene) -> dict[str, Any]:
    """Return the report of all objects: rounds, views and verdicts, as JSON."""
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
        }
        for index, record in sorted(one.views.items())
    }
    return _object_entry(one, views)


def _object_entry(one: ObjectResult, views: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object's entry in the report; ``views`` by their names."""
    return {
        "name": one.name,
        "converged": one.converged,
        "verdict": one.verdict,
        "kept_round": one.kept_round,
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
