"""Measure time and memory: ratios from one run, as a table.

    python scripts/benchmarks/speed.py --output docs/benchmark.md

Times are medians of several repetitions, and ratios wherever they depend on the machine.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from speed_fields import field_rows, field_table
from speed_operators import growth_rows, median_seconds, pruning_rows, synchronise, update_rows

import sa3d
from nerfstudio_plugin.demo.data import open_demo
from sa3d.loop.session import Session
from sa3d.loop.settings import Settings
from sa3d.objects.events import ViewDone
from sa3d.objects.prompts import Prompt
from sa3d.results.final_masks import final_masks
from sa3d.scene.config import PrepareConfig
from sa3d.scene.scene import Scene
from sa3d.segmenters.loading import load_segmenter
from sa3d.segmenters.protocol import PromptableSegmenter


@dataclass
class Options:
    """Command-line options."""

    scene: Literal["room", "garden"] = "room"
    """A demo scene."""
    objects: tuple[str, str] = ("ball", "mug")
    """The first and the second object."""
    counts: tuple[int, ...] = (1, 2, 5, 10)
    """Numbers of objects in one pass."""
    repeats: int = 5
    """Repetitions of the short measurements; the median counts."""
    ray_side: int = 128
    """Rays along the longer side of each view."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device of the field and of the loop."""
    sam: str = "sam2.1-tiny"
    """A model of true size and random weights whose decoder is timed too; empty: none."""
    output: Path = Path("docs/benchmark.md")
    """File of the table; the numbers go to the same name with .json."""


@dataclass
class Stopwatch:
    """Seconds and calls by label."""

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def __call__(self, label: str) -> Iterator[None]:
        """Add the time spent inside."""
        start = time.perf_counter()
        try:
            yield
        finally:
            synchronise()
            self.seconds[label] = self.seconds.get(label, 0.0) + time.perf_counter() - start
            self.calls[label] = self.calls.get(label, 0) + 1

    def wrap(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self(label):
                return function(*args, **kwargs)

        return timed


def timed_segmenter(watch: Stopwatch, device: str) -> PromptableSegmenter:
    """Return the embedded segmenter, with its time added to ``segmenter``."""
    segmenter = load_segmenter("graphcut", device)
    for method in ("set_image", "predict", "sample_appearance", "restore_state"):
        setattr(segmenter, method, watch.wrap("segmenter", getattr(segmenter, method)))
    return segmenter


def sam_prompt_seconds(options: Options) -> float:
    """Return the seconds of a prompt to a SAM of true size whose image is encoded."""
    from sa3d.segmenters.sam.loading import SEGMENTER_OF_TYPE
    from sa3d.testing.random_sam import family_of, true_size_sam

    family = family_of(options.sam)
    model, processor = true_size_sam(options.sam)
    segmenter = SEGMENTER_OF_TYPE[family](model, processor, options.sam, options.device)
    segmenter.set_image(np.random.default_rng(0).integers(0, 255, (409, 512, 3), np.uint8))
    box = np.array([100, 100, 300, 250])
    return median_seconds(
        lambda: segmenter.predict(box=box, multimask_output=True), options.repeats
    )


def run_session(
    scene: Scene, prompts: Sequence[Prompt], device: str
) -> tuple[float, Stopwatch, int]:
    """Prepare the views that are not in the cache, and segment objects.

    Returns:
        Seconds in all and by part, and how often a view was asked about an object.
    """
    watch = Stopwatch()
    segmenter = timed_segmenter(watch, device)
    original = scene.field.render
    scene.field.render = watch.wrap("NeRF", original)  # type: ignore[method-assign]
    start = time.perf_counter()
    if not scene.is_prepared():
        list(scene.prepare())
    session = Session(scene, segmenter)
    session.add_prompts(prompts)
    visits = sum(isinstance(event, ViewDone) for event in session.run())
    synchronise()
    total = time.perf_counter() - start
    scene.field.render = original  # type: ignore[method-assign]
    return total, watch, visits


def correction_rows(options: Options, scene: Scene, prompt: Prompt) -> dict[str, float]:
    """Return the seconds of a correction, with and without the segmenter."""
    watch = Stopwatch()
    session = Session(scene, timed_segmenter(watch, options.device))
    session.add_prompts([prompt])
    for _ in session.run():
        pass
    spent = lambda: watch.seconds["segmenter"]  # noqa: E731
    return correction_seconds(session, prompt.object, spent, options.repeats)


def objects_rows(options: Options, scene: Scene) -> dict[str, list[dict[str, float]]]:
    """Return the seconds in the segmenter and elsewhere, for several objects in one pass.

    Each prompted in a view of its own (the demo's objects, then the first ones again), and all in
    the same view (the same object under several names).
    """
    given = list(open_demo(options.scene).prompts.values())
    given = [given[i % len(given)] for i in range(max(options.counts))]
    own = [replace(prompt, object=f"{i}") for i, prompt in enumerate(given)]
    one = [replace(own[0], object=f"{i}") for i in range(max(options.counts))]
    found: dict[str, list[dict[str, float]]] = {}
    for kind, prompts in (("own", own), ("one", one)):
        found[kind] = []
        for count in options.counts:
            total, watch, visits = run_session(scene, prompts[:count], options.device)
            segmenter = watch.seconds["segmenter"]
            found[kind].append(
                {
                    "objects": count,
                    "visits": visits,
                    "segmenter": segmenter,
                    "else": total - segmenter,
                }
            )
    return found


def correction_seconds(
    session: Session, name: str, in_segmenter: Callable[[], float], repeats: int
) -> dict[str, Any]:
    """Return the median seconds of a correcting click in a view that was not prompted.

    Args:
        session: with a finished object ``name``.
        in_segmenter: seconds spent in the segmenter so far.
    """
    scene, times, rests, asked = session.scene, [], [], []
    prompted = {scene.view_index(prompt.view) for prompt in session.prompts(name)}
    others = [index for index in range(len(scene.views)) if index not in prompted]
    result = session.result()
    seen = [i for i in others if final_masks(scene, result, i)[name][0].sum() > 50]
    for index in seen[:: max(1, len(seen) // repeats)][:repeats]:
        ys, xs = np.nonzero(final_masks(scene, result, index)[name][0])
        middle = int(np.abs(xs - xs.mean()).argmin())
        click = Prompt(
            scene.views[index].name, name, ((float(xs[middle]), float(ys[middle])),), (1,)
        )
        session.add_prompts([click])
        started, before = time.perf_counter(), in_segmenter()
        events = sum(1 for _ in session.run())
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        total = time.perf_counter() - started
        times.append(total)
        rests.append(total - (in_segmenter() - before))
        asked.append(events - 2)
        session.undo()
    return {
        "seconds": statistics.median(times),
        "besides_segmenter": statistics.median(rests),
        "views_asked": statistics.median(asked),
    }


def markdown(command: str, numbers: dict[str, Any]) -> str:
    """Return all tables.

    Args:
        command: the command that measured the numbers.
        numbers: as ``main`` writes them.
    """
    first, second, cached = numbers["first"], numbers["second_object"], numbers["cached"]
    parts = first["parts"]
    other = first["seconds"] - sum(parts.values())
    updates = numbers["updates"]
    closed = updates["closed form, vote (F and T)"]
    lines = [
        "# Benchmark",
        "",
        f"Made by `{command}`; {os.cpu_count()} cores, torch {torch.__version__}, "
        f"{platform.machine()}. All of one table is from one run.",
        "",
        "| one object, from nothing | share of the time |",
        "|---|---|",
        *(f"| {part} | {seconds / first['seconds']:.1%} |" for part, seconds in parts.items()),
        f"| everything else | {other / first['seconds']:.1%} |",
        "",
        "| run | time, first = 1 | NeRF calls |",
        "|---|---|---|",
        f"| first object, nothing cached | 1 | {first['nerf_calls']} |",
        f"| second object | {second['seconds'] / first['seconds']:.3f} | {second['nerf_calls']} |",
        f"| first object again, cached | {cached['seconds'] / first['seconds']:.3f} "
        f"| {cached['nerf_calls']} |",
        "",
        *_correction_lines(numbers["correction"]),
        *_objects_table(numbers["objects"]),
        *_further_object(numbers["objects"]["one"], first["seconds"], numbers["sam"]),
        *field_table(numbers["fields"]),
        "| one view's update | time, closed-form vote = 1 |",
        "|---|---|",
        *(f"| {name} | {seconds / closed:.1f} |" for name, seconds in updates.items()),
        "",
        "| weights below are pruned | entries per ray | mean mask error | 99th percentile |",
        "|---|---|---|---|",
        *(
            f"| {t:g} | {n:.1f} | {mean:.5f} | {high:.5f} |"
            for t, n, mean, high in numbers["pruning"]
        ),
        "",
        "| memory | | MiB |",
        "|---|---|---|",
        *(f"| {name} | {text} | {mib:.1f} |" for name, text, mib in numbers["growth"]),
        f"| peak of the whole process | | {numbers['peak_gib'] * 1024:.0f} |",
        "",
    ]
    return "\n".join(lines)


def _correction_lines(row: dict[str, float]) -> list[str]:
    view = row["nerf_view"]
    return [
        "| a correction (one click in a view not prompted before) | time, NeRF evaluation of one "
        "view = 1 | seconds here |",
        "|---|---|---|",
        f"| in all, {row['views_asked']:.0f} views asked | {row['seconds'] / view:.2f} "
        f"| {row['seconds']:.2f} |",
        f"| besides the segmenter | {row['besides_segmenter'] / view:.2f} "
        f"| {row['besides_segmenter']:.2f} |",
        "",
    ]


def _objects_table(rows: dict[str, list[dict[str, float]]]) -> list[str]:
    """Return the time per object and view, relative to the first object alone."""
    lines = [
        "| objects in one pass, time per object and view, one object = 1 | in views of their own: "
        "segmenter | everything else | in the same view: segmenter | everything else |",
        "|---|---|---|---|---|",
    ]
    units = {
        kind: (of[0]["segmenter"] + of[0]["else"]) / of[0]["visits"] for kind, of in rows.items()
    }
    for own, one in zip(rows["own"], rows["one"], strict=True):
        parts = [
            row[part] / row["visits"] / units[kind]
            for kind, row in (("own", own), ("one", one))
            for part in ("segmenter", "else")
        ]
        lines.append(f"| {own['objects']} | " + " | ".join(f"{part:.3f}" for part in parts) + " |")
    return [*lines, ""]


def _further_object(rows: list[dict[str, float]], first: float, sam: dict[str, Any]) -> list[str]:
    """Return the cost of one more object in the same view: the last row less the first."""
    alone, most = rows[0], rows[-1]
    objects = most["objects"] - alone["objects"]
    if not objects:
        return []
    segmenter, other = ((most[part] - alone[part]) / objects for part in ("segmenter", "else"))
    text = (
        f"A further object in the same view: {(segmenter + other) / first:.3f} of the first one "
        f"from nothing, {segmenter / (segmenter + other):.0%} of it the segmenter, no NeRF, no "
        "encoding."
    )
    if sam["prompt"]:
        unit = sam["prompt"] * (most["visits"] - alone["visits"]) / objects
        text += (
            f" Everything else is {other / unit:.2f} of a prompt to {sam['name']} (true size, "
            f"random weights), the embedded segmenter {segmenter / unit:.2f}."
        )
    return [text, ""]


def main(options: Options) -> None:
    """Measure and write the table."""
    demo = open_demo(options.scene)
    with tempfile.TemporaryDirectory() as cache:

        def opened() -> Scene:
            settings = Settings(prepare=PrepareConfig(ray_side=options.ray_side))
            return sa3d.open(
                demo.load_config,
                settings,
                data=demo.folder,
                cache_dir=cache,
                device=options.device,
            ).scene

        scene = opened()
        prompts = [[demo.prompts[name]] for name in options.objects]
        first, watch, _ = run_session(scene, prompts[0], options.device)
        second_object, second_watch, _ = run_session(scene, prompts[1], options.device)
        again, again_watch, _ = run_session(opened(), prompts[0], options.device)
        numbers: dict[str, Any] = {
            "first": {"seconds": first, "parts": watch.seconds, "nerf_calls": watch.calls["NeRF"]},
            "second_object": {
                "seconds": second_object,
                "parts": second_watch.seconds,
                "nerf_calls": second_watch.calls.get("NeRF", 0),
            },
            "cached": {
                "seconds": again,
                "parts": again_watch.seconds,
                "nerf_calls": again_watch.calls.get("NeRF", 0),
            },
            "correction": correction_rows(options, scene, prompts[0][0])
            | {"nerf_view": watch.seconds["NeRF"] / len(scene.views)},
            "objects": objects_rows(options, scene),
            "sam": {"name": options.sam, "prompt": options.sam and sam_prompt_seconds(options)},
            "updates": update_rows(scene, options.repeats),
            "fields": field_rows(options.repeats),
            "growth": growth_rows(scene),
            "pruning": pruning_rows(scene),
        }
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    numbers["peak_gib"] = peak_kib / 2**20
    if options.device == "cuda":
        numbers["peak_gpu_gib"] = torch.cuda.max_memory_allocated() / 2**30
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.with_suffix(".json").write_text(json.dumps(numbers, indent=1))
    command = f"python scripts/benchmarks/{Path(__file__).name} {shlex.join(sys.argv[1:])}".strip()
    text = markdown(command, numbers)
    options.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main(tyro.cli(Options))
