"""``sa3d info``: describes a run, a scene cache or a segmentation.

A segmentation is read without torch, so that the answer comes at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from nerfstudio_plugin.cli.options import ReportOptions, run
from nerfstudio_plugin.cli.terminal import OUT, rounds_table
from sa3d.base.errors import SA3DError
from sa3d.base.json_files import read_json
from sa3d.objects.folder import is_segmentation, read_summary

_HELP = """Describe a run, a scene cache or a segmentation.

examples:
  sa3d info outputs/room/nerfacto/RUN/config.yml
  sa3d info outputs/room/nerfacto/RUN/sa3d_cache
  sa3d info segmentations/ball
"""
_EVALUATED_BY = {"torch": "torch", "native": "tiny-cuda-nn itself"}


@dataclass(kw_only=True)
class Info(ReportOptions):
    """Describe a run, a scene cache or a segmentation."""

    path: Annotated[Path, tyro.conf.Positional]
    """A run's config.yml or a folder above it, a scene cache, or a segmentation folder."""
    load_step: int | None = None
    """For a run: training step of the checkpoint; the latest one by default."""
    data: Path | None = None
    """For a run: the scene's photos and cameras, if they are not where the config says."""


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d info``.

    Raises:
        SA3DError: a problem that the user can solve.
    """
    run(_run, Info, arguments, "sa3d info", _HELP)


def _run(command: Info) -> None:
    path = command.path
    if is_segmentation(path):
        report = _segmentation(path)
    elif caches := sorted(path.glob("scene.json")) or sorted(path.glob("*/scene.json")):
        report = {"kind": "cache", "caches": [_cache(cache.parent) for cache in caches]}
    elif path.exists():
        report = _trained_run(path, command.data, command.load_step)
    else:
        raise SA3DError(f"{path} is neither a run, nor a scene cache, nor a segmentation")
    command.write_report(report)


def _segmentation(folder: Path) -> dict[str, Any]:
    saved = read_summary(folder)
    OUT.print(f"segmentation of {saved.provenance.get('load_config', 'an unknown run')}")
    OUT.print(rounds_table([done for one in saved.objects for done in one.rounds]))
    for one in saved.objects:
        OUT.print(f"{one.name}: {one.elements} elements; {one.verdict}")
    objects = [
        {
            "name": one.name,
            "elements": one.elements,
            "verdict": one.verdict,
            "rounds": [asdict(done) for done in one.rounds],
        }
        for one in saved.objects
    ]
    return {"kind": "segmentation", "objects": objects, "provenance": saved.provenance}


def _cache(folder: Path) -> dict[str, Any]:
    try:
        manifest = read_json(folder / "scene.json")
        views, config = len(manifest["views"]), manifest["config"]
        key = manifest["key"]
    except (SA3DError, LookupError, TypeError) as error:
        raise SA3DError(f"the scene cache {folder} is damaged: delete it") from error
    prepared = len(list(folder.glob("views/*.npz")))
    files = [file for file in folder.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    encoded = {
        place.name: len(list(place.glob("*.npz"))) for place in sorted(folder.glob("encodings/*"))
    }
    OUT.print(f"scene cache {folder}: {prepared} of {views} views prepared, {size / 1e6:.0f} MB")
    OUT.print("  " + ", ".join(f"{name} {value}" for name, value in config.items()))
    for name, count in encoded.items():
        OUT.print(f"  {count} photos encoded for {name}")
    return {
        "folder": str(folder),
        "key": key,
        "views": views,
        "prepared": prepared,
        "bytes": size,
        "config": config,
        "encoded": encoded,
    }


def _trained_run(path: Path, data: Path | None, step: int | None) -> dict[str, Any]:
    from nerfstudio_plugin.api import opening

    opened = opening.open(path, data=data, load_step=step)
    run, scene = opened.run, opened.scene
    sizes = sorted({(view.camera.width, view.camera.height) for view in run.views})
    manifests = sorted(opening.default_cache_root(run.load_config).glob("*/scene.json"))
    OUT.print(f"{run.config.method_name} run, {run.checkpoint_path.name}, data {run.data}")
    shown = ", ".join(f"{width} x {height}" for width, height in sizes[:3])
    if run.tcnn:
        OUT.print(f"tiny-cuda-nn weights, evaluated by {_EVALUATED_BY[run.tcnn]}")
    OUT.print(f"{len(run.views)} photos of {shown} px; space: {scene.grid.bounds.kind}")
    described = [_cache(manifest.parent) for manifest in manifests]
    return {
        "kind": "run",
        "method": run.config.method_name,
        "tcnn": run.tcnn,
        "checkpoint": str(run.checkpoint_path),
        "data": str(run.data),
        "views": [view.name for view in run.views],
        "sizes": sizes,
        "space": scene.grid.bounds.kind,
        "caches": described,
    }
