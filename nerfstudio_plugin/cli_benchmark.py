"""``sa3d benchmark``: how good the program is, on frozen scenes and prompts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nerfstudio_plugin.api import open as open_run
from nerfstudio_plugin.benchmark import Measured, Protocol, measure
from nerfstudio_plugin.benchmark_cases import Case, Layout, data_cases, demo_cases
from nerfstudio_plugin.cli_options import ReportOptions, SettingsOptions, parse
from nerfstudio_plugin.cli_progress import ERR, OUT, prepare_with_progress
from nerfstudio_plugin.open_scene import OpenScene
from nerfstudio_plugin.segmented_scene import write_json
from sa3d.errors import SA3DError
from sa3d.storage import atomic_path

_HELP = """Measure segmentations on frozen scenes, prompts and seeds, by two protocols.

visible: all photographs may be used; measured over all annotated views but the prompted ones.
unseen:  the target views' photographs are never looked at; their masks are rendered from 3D.

Without --data: the demo scenes. With it a data set on disk (docs/benchmark_protocol.md), and
--runs, the folder of Nerfstudio runs trained on it, <scene>/.../config.yml.

examples:
  sa3d benchmark                                     (three objects of the demo room: minutes)
  sa3d benchmark --quick                             (one object, coarse: under a minute)
  sa3d benchmark --full                              (all 13 objects of both demo scenes)
  sa3d benchmark --layout nvos --data nvos --runs runs --config forward_facing
"""

QUICK = {"room": ("ball",)}
USUAL = {"room": ("mug", "ball", "book")}
FULL: dict[str, tuple[str, ...]] = {"room": (), "garden": ()}
"""Frozen lists of the demo scenes' objects; all of a scene where there are none."""
_QUICK_RAYS, _QUICK_VOXELS = 48, 96
_HEADERS = ("object", "protocol", "mean IoU", "worst", "accuracy", "boundary F", "clicks", "views")
_STAGES = ("open", "prepare", "segment", "masks")


@dataclass(kw_only=True)
class Benchmark(ReportOptions, SettingsOptions):
    """Measure segmentations."""

    quick: bool = False
    """One object of the demo room, on a coarse grid."""
    full: bool = False
    """All objects of both demo scenes."""
    layout: Layout = "demo"
    """Of --data: folders (<scene>/masks_gt/[<object>/]), nvos or spin-nerf."""
    data: Path | None = None
    """A data set with exact masks, instead of the demo scenes."""
    runs: Path | None = None
    """Trained runs of its scenes, <scene>/.../config.yml."""
    scenes: tuple[str, ...] = ()
    """Only these scenes of it."""
    protocol: Literal["both", "visible", "unseen"] = "both"
    """Which views may be used; see above."""
    corrections: int = 0
    """With the visible protocol: so many clicks at most by a simulated user."""
    seed: int = 0
    """Of clicks that are sampled from scribbles."""
    output: Path = Path("benchmark_output")
    """Folder for results.json, table.md and the scene caches."""
    cache_dir: Path | None = None
    """Where scene caches lie; in the output folder by default."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d benchmark``.

    Raises:
        SA3DError: something the user can put right.
    """
    command = parse(Benchmark, arguments, "sa3d benchmark", _HELP, preset="demo")
    if command.quick:
        prepare = command.settings.prepare
        prepare.ray_side, prepare.resolution = _QUICK_RAYS, _QUICK_VOXELS
    rows = []
    for row in _measured(_cases(command), command):
        rows.append(row)
        said = row.error or f"IoU {row.iou:.3f}"
        ERR.print(f"{row.scene} {row.object}, {row.protocol}: {said}", markup=False)
    report = {
        "segmenter": command.settings.segmenter,
        "settings": asdict(command.settings),
        "seed": command.seed,
        "layout": command.layout,
        "rows": [asdict(row) for row in rows],
        "mean": {protocol: _mean(rows, protocol) for protocol in _protocols(command)},
    }
    write_json(command.output / "results.json", report)
    lines = [_cells(row) for row in rows] + [
        ("**mean**", protocol, *(f"{value:.3f}" for value in mean.values()), "", "", "")
        for protocol, mean in report["mean"].items()
        if mean
    ]
    headers = (*_HEADERS, "s " + " / ".join(_STAGES))
    text = [f"| {' | '.join(line)} |" for line in (headers, ["---"] * len(headers), *lines)]
    with atomic_path(command.output / "table.md") as temporary:
        temporary.write_text("\n".join(text) + "\n")
    OUT.print("\n".join(text), markup=False)
    for row in rows:
        if row.error:
            OUT.print(f"{row.scene} {row.object}, {row.protocol}: {row.error}", markup=False)
    OUT.print(f"{command.output / 'results.json'}   {command.output / 'table.md'}")
    command.write_report(report)


def _cases(command: Benchmark) -> list[Case]:
    """What is to be measured, scene by scene."""
    if command.layout == "demo":
        if command.data is not None or command.runs is not None:
            raise SA3DError("say with --layout how --data is laid out: folders, nvos or spin-nerf")
        return demo_cases(QUICK if command.quick else FULL if command.full else USUAL)
    if command.data is None or command.runs is None:
        raise SA3DError(f"--layout {command.layout} needs --data and --runs")
    cases = data_cases(command.layout, command.data, command.runs, command.seed)
    names = list(dict.fromkeys(case.scene for case in cases))
    for name in command.scenes:
        if name not in names:
            raise SA3DError(f"no scene {name!r} there with a run; there are: {', '.join(names)}")
    return [case for case in cases if case.scene in (command.scenes or names)]


def _measured(cases: Sequence[Case], command: Benchmark) -> Iterator[Measured]:
    """A row per case and protocol; a scene is opened once for all its objects."""
    opened: OpenScene | None = None
    for position, case in enumerate(cases):
        spent: dict[str, float] = {}
        if opened is None or case.load_config != cases[position - 1].load_config:
            started = time.perf_counter()
            opened = open_run(
                case.load_config,
                command.settings,
                data=case.data,
                cache_dir=command.cache_dir or command.output / "cache",
                device=command.device,
            )
            spent["open"] = time.perf_counter() - started
            started = time.perf_counter()
            prepare_with_progress(opened.scene)
            spent["prepare"] = time.perf_counter() - started
            command.settings = opened.settings  # with the segmenter that "auto" took
        for protocol in _protocols(command):
            corrections = command.corrections if protocol == "visible" else 0
            row = measure(opened, case, protocol, corrections)
            row.seconds = {**spent, **row.seconds}
            spent = {}
            yield row


def _protocols(command: Benchmark) -> tuple[Protocol, ...]:
    return ("visible", "unseen") if command.protocol == "both" else (command.protocol,)


def _mean(rows: Sequence[Measured], protocol: Protocol) -> dict[str, float]:
    """Means over the rows of a protocol; one that failed counts as 0."""
    of_protocol = [row for row in rows if row.protocol == protocol]
    keys = ("iou", "worst", "accuracy", "boundary")
    return {key: float(np.mean([getattr(row, key) for row in of_protocol])) for key in keys}


def _cells(row: Measured) -> tuple[str, ...]:
    numbers: list[Any] = [row.iou, row.worst, row.accuracy, row.boundary]
    seconds = " / ".join(
        f"{row.seconds[stage]:.1f}" if stage in row.seconds else "-" for stage in _STAGES
    )
    values = ["-"] * 4 if row.error else [f"{number:.3f}" for number in numbers]
    return (
        f"{row.scene}: {row.object}",
        row.protocol,
        *values,
        str(row.clicks),
        str(row.views),
        seconds,
    )
