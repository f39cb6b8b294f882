"""``sa3d benchmark``: measures segmentations on frozen scenes and prompts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nerfstudio_plugin.benchmark.config import Layout, Protocol
from nerfstudio_plugin.cli.options import ReportOptions, SettingsOptions, run
from nerfstudio_plugin.cli.terminal import ERR, OUT, prepare_with_progress
from nerfstudio_plugin.runs.devices import torch_device
from sa3d.base.errors import SA3DError
from sa3d.base.json_files import read_json
from sa3d.base.storage import atomic_path, write_json
from sa3d.base.version import program_version
from sa3d.segmenters.choice import resolve_segmenter

if TYPE_CHECKING:
    from nerfstudio_plugin.api.open_scene import OpenScene
    from nerfstudio_plugin.benchmark.cases import Case
    from nerfstudio_plugin.benchmark.protocols import Measured

_HELP = """Measure segmentations on frozen scenes, prompts and seeds, by two protocols.

visible: all photos may be used; measured in all annotated views but the prompted ones.
unseen:  the target views' photos are never used; their masks are rendered from 3D.

Without --data, the demo scenes are measured. --data names a data set on disk
(docs/benchmark_protocol.md), --runs the Nerfstudio runs trained on it, <scene>/.../config.yml.

To continue after a stop, give the same command again.

examples:
  sa3d benchmark                                     (three objects of the demo room: minutes)
  sa3d benchmark --quick --output quick              (one object, coarse: under a minute)
  sa3d benchmark --full                              (all 13 objects of both demo scenes)
  sa3d benchmark --layout nvos --data nvos --runs runs --config forward_facing --output nvos_runs
"""

QUICK = {"room": ("ball",)}
USUAL = {"room": ("mug", "ball", "book")}
FULL: dict[str, tuple[str, ...]] = {"room": (), "garden": ()}
"""Frozen lists of the demo scenes' objects; an empty list means all of the scene."""
_QUICK_RAYS, _QUICK_VOXELS = 48, 96
_HEADERS = ("object", "protocol", "mean IoU", "worst", "accuracy", "boundary F", "clicks", "views")
_RESULTS = "results.json"
_STAGES = ("open", "prepare", "segment", "masks")


@dataclass(kw_only=True)
class Benchmark(ReportOptions, SettingsOptions):
    """Measure segmentations."""

    quick: bool = False
    """One object of the demo room, on a coarse grid."""
    full: bool = False
    """All objects of both demo scenes."""
    layout: Layout = "demo"
    """Layout of --data: folders (<scene>/masks_gt/[<object>/]), nvos or spin-nerf."""
    data: Path | None = None
    """A data set with exact masks, instead of the demo scenes."""
    runs: Path | None = None
    """Folder of the trained runs of the data set's scenes, <scene>/.../config.yml."""
    scenes: tuple[str, ...] = ()
    """Only these scenes of the data set, or of the demo; all by default."""
    protocol: Literal["both", "visible", "unseen"] = "both"
    """The views that may be used; see above."""
    corrections: int = 0
    """With the visible protocol: clicks of a simulated user, at most."""
    seed: int = 0
    """Seed of the clicks that are sampled from scribbles."""
    output: Path = Path("benchmark_output")
    """Folder for results.json, table.md and the scene caches."""
    cache_dir: Path | None = None
    """Folder for scene caches; in the output folder by default."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    again: bool = False
    """Measure everything again, and replace the results in --output."""


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d benchmark``.

    Raises:
        SA3DError: a problem that the user can solve.
    """
    run(_run, Benchmark, arguments, "sa3d benchmark", _HELP, preset="demo")


def _run(command: Benchmark) -> None:
    _check(command)
    if command.quick:
        prepare = command.settings.prepare
        prepare.ray_side, prepare.resolution = _QUICK_RAYS, _QUICK_VOXELS
    chosen = resolve_segmenter(command.settings.segmenter, torch_device(command.device))
    command.settings.segmenter = chosen.name
    cases, known = _cases(command), {} if command.again else _known_rows(command)
    rows: list[Measured] = []
    for row in _measured(cases, command, known):
        rows.append(row)
        write_json(command.output / _RESULTS, _report(command, [*rows, *known.values()]))
        result = row.error or f"IoU {row.iou:.3f}"
        ERR.print(f"{row.scene} {row.object}, {row.protocol}: {result}")
    report = _report(command, rows)
    text = _table(rows, report["mean"])
    with atomic_path(command.output / "table.md") as temporary:
        temporary.write_text(text + "\n")
    OUT.print(text)
    for row in rows:
        if row.error:
            OUT.print(f"{row.scene} {row.object}, {row.protocol}: {row.error}")
    OUT.print(f"{command.output / _RESULTS}   {command.output / 'table.md'}")
    command.write_report(report)


def _check(command: Benchmark) -> None:
    """Refuse invalid options and combinations of them, before anything is opened."""
    if command.corrections < 0:
        raise SA3DError(f"--corrections must be at least 0, is {command.corrections}")
    if command.corrections and command.protocol == "unseen":
        raise SA3DError(
            "corrections are made with the visible protocol only: leave out --corrections, or "
            "--protocol unseen"
        )
    if command.quick and command.full:
        raise SA3DError("--quick measures one object, --full all of them: leave one out")


def _cases(command: Benchmark) -> list[Case]:
    """Return the cases to measure, scene by scene."""
    from nerfstudio_plugin.benchmark.cases import data_cases, demo_cases

    if command.layout == "demo":
        if command.data is not None or command.runs is not None:
            raise SA3DError("give --layout with --data: folders, nvos or spin-nerf")
        lists = QUICK if command.quick else FULL if command.full else USUAL
        return _of_scenes(command, demo_cases(lists))
    if command.data is None or command.runs is None:
        raise SA3DError(f"--layout {command.layout} needs --data and --runs")
    return _of_scenes(command, data_cases(command.layout, command.data, command.runs, command.seed))


def _of_scenes(command: Benchmark, cases: Sequence[Case]) -> list[Case]:
    """Return the cases of the scenes that were asked for.

    Raises:
        SA3DError: there is no such scene.
    """
    names = list(dict.fromkeys(case.scene for case in cases))
    for name in command.scenes:
        if name not in names:
            raise SA3DError(f"no scene {name!r} to measure; there are: {', '.join(names)}")
    return [case for case in cases if case.scene in (command.scenes or names)]


def _conditions(command: Benchmark) -> dict[str, Any]:
    """Return everything that shapes a row besides its case, as JSON values."""
    places = [str(place) for place in (command.data, command.runs) if place is not None]
    conditions = {
        "version": program_version(),
        "settings": asdict(command.settings),
        "layout": command.layout,
        "data": places,
        "seed": command.seed,
        "corrections": command.corrections,
    }
    return json.loads(json.dumps(conditions))


def _report(command: Benchmark, rows: Sequence[Measured]) -> dict[str, Any]:
    return {
        "segmenter": command.settings.segmenter,
        **_conditions(command),
        "rows": [asdict(row) for row in rows],
        "mean": {one: _mean(rows, one) for one in dict.fromkeys(row.protocol for row in rows)},
    }


def _known_rows(command: Benchmark) -> dict[tuple[str, str, str], Measured]:
    """Return the rows that an earlier run of the same command measured, finished or not.

    Rows that failed are left out, and so measured again.

    Raises:
        SA3DError: the rows were measured with other options.
    """
    from nerfstudio_plugin.benchmark.protocols import Measured

    try:
        report = read_json(command.output / _RESULTS)
        other = [key for key, value in _conditions(command).items() if report[key] != value]
        rows = [Measured(**row) for row in report["rows"]]
    except (SA3DError, LookupError, TypeError):
        return {}
    if other:
        raise SA3DError(
            f"{command.output / _RESULTS} was measured with other {' and '.join(other)}: give "
            "another --output, or --again to replace it"
        )
    return {(row.scene, row.object, row.protocol): row for row in rows if not row.error}


def _measured(
    cases: Sequence[Case], command: Benchmark, known: dict[tuple[str, str, str], Measured]
) -> Iterator[Measured]:
    """Yield a row per case and protocol, taken out of ``known`` if it is there.

    A scene is opened once for all its objects, and only if one is measured.
    """
    from nerfstudio_plugin.benchmark.protocols import measure

    opened: OpenScene | None = None
    for position, case in enumerate(cases):
        if opened is not None and case.load_config != cases[position - 1].load_config:
            opened = None
        for protocol in _protocols(command):
            row = known.pop((case.scene, case.object, protocol), None)
            if row is None:
                spent: dict[str, float] = {}
                if opened is None:
                    opened = _opened(case, command, spent)
                corrections = command.corrections if protocol == "visible" else 0
                row = measure(opened, case, protocol, corrections)
                row.seconds = {**spent, **row.seconds}
            yield row


def _opened(case: Case, command: Benchmark, spent: dict[str, float]) -> OpenScene:
    """Open and prepare a case's scene; write the seconds to ``spent``."""
    from nerfstudio_plugin.api.opening import open as open_run

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
    return opened


def _protocols(command: Benchmark) -> tuple[Protocol, ...]:
    return ("visible", "unseen") if command.protocol == "both" else (command.protocol,)


def _mean(rows: Sequence[Measured], protocol: str) -> dict[str, float]:
    """Return the means over the rows of a protocol; a row that failed counts as 0."""
    import numpy as np

    of_protocol = [row for row in rows if row.protocol == protocol]
    keys = ("iou", "worst", "accuracy", "boundary")
    return {key: float(np.mean([getattr(row, key) for row in of_protocol])) for key in keys}


def _table(rows: Sequence[Measured], means: Mapping[str, Mapping[str, float]]) -> str:
    lines = [_cells(row) for row in rows] + [
        ("**mean**", protocol, *(f"{value:.3f}" for value in mean.values()), "", "", "")
        for protocol, mean in means.items()
    ]
    headers = (*_HEADERS, "s " + " / ".join(_STAGES))
    return "\n".join(
        f"| {' | '.join(line)} |" for line in (headers, ["---"] * len(headers), *lines)
    )


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
