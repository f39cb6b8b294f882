"""Where the time and the memory go: ratios measured side by side in one run, as a table.

    python scripts/bench.py --output docs/benchmark.md

Medians of several repetitions; absolute seconds are left to the machine's owner.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from bench_correction import correction_seconds

from nerfstudio_plugin.demo_data import open_demo
from nerfstudio_plugin.scene_loading import open_scene
from sa3d.events import ViewDone
from sa3d.geometry import Camera
from sa3d.inverse_rendering import Evidence, Vote, sa3d_gradient_step
from sa3d.prompts import Prompt
from sa3d.radiance_field import RadianceField
from sa3d.scene import PrepareConfig, Scene
from sa3d.segmenters import load_segmenter
from sa3d.session import Session
from sa3d.view_operator import ViewOperator, build_view_operator

LAM = 1.0


@dataclass
class Options:
    """What to measure."""

    scene: Literal["room", "garden"] = "room"
    """A demo scene."""
    objects: tuple[str, str] = ("ball", "mug")
    """The first and the second object."""
    counts: tuple[int, ...] = (1, 2, 5, 10)
    """So many objects in one pass."""
    repeats: int = 5
    """Repetitions of the short measurements; the median counts."""
    ray_side: int = 128
    """Rays along the longer side of each view."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to compute."""
    output: Path = Path("docs/benchmark.md")
    """The table; the numbers behind it go to the same name with .json."""


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
            _synchronise()
            self.seconds[label] = self.seconds.get(label, 0.0) + time.perf_counter() - start
            self.calls[label] = self.calls.get(label, 0) + 1

    def wrap(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self(label):
                return function(*args, **kwargs)

        return timed


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _median_seconds(function: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        _synchronise()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])  # the first warms up


def run_session(
    scene: Scene, prompts: Sequence[Prompt], device: str
) -> tuple[float, Stopwatch, int]:
    """Prepare what is not prepared, segment objects.

    Returns:
        Seconds in all and by part, and how often a view was asked about an object.
    """
    watch = Stopwatch()
    segmenter = load_segmenter("graphcut", device)
    for method in ("set_image", "predict", "sample_appearance", "restore_state"):
        setattr(segmenter, method, watch.wrap("segmenter", getattr(segmenter, method)))
    original = scene.field.render
    scene.field.render = watch.wrap("NeRF", original)  # type: ignore[method-assign]
    start = time.perf_counter()
    if not scene.is_prepared():
        list(scene.prepare())
    session = Session(scene, segmenter)
    session.add_prompts(prompts)
    visits = sum(isinstance(event, ViewDone) for event in session.run())
    _synchronise()
    total = time.perf_counter() - start
    scene.field.render = original  # type: ignore[method-assign]
    return total, watch, visits


def correction_rows(options: Options, scene: Scene, prompt: Prompt) -> dict[str, float]:
    """Seconds of a correction, with and without the segmenter."""
    watch, segmenter = Stopwatch(), load_segmenter("graphcut", options.device)
    for method in ("set_image", "predict", "sample_appearance", "restore_state"):
        setattr(segmenter, method, watch.wrap("segmenter", getattr(segmenter, method)))
    session = Session(scene, segmenter)
    session.add_prompts([prompt])
    for _ in session.run():
        pass
    spent = lambda: watch.seconds["segmenter"]  # noqa: E731
    return correction_seconds(session, prompt.object, spent, options.repeats)


def objects_rows(options: Options, scene: Scene) -> dict[str, list[dict[str, float]]]:
    """Seconds per object and view, the segmenter's and all others, for several objects in one pass.

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
            decoder = watch.seconds["segmenter"]
            found[kind].append(
                {
                    "objects": count,
                    "decoder": decoder / visits,
                    "else": (total - decoder) / visits,
                    "seconds": total,
                }
            )
    return found


def dense_autograd_step(operator: ViewOperator, volume: torch.Tensor, mask: torch.Tensor) -> None:
    """One update as autograd does it on a dense mask grid [V]: render, loss, backward, step."""
    volume.requires_grad_(True)
    ray = torch.repeat_interleave(
        torch.arange(operator.num_rays, device=mask.device), operator.crow.diff()
    )
    values = volume[operator.keys[operator.col]] * operator.weight
    rendered = torch.zeros_like(mask).index_add(0, ray, values)
    loss = -(mask * rendered).sum() + LAM * ((1 - mask) * rendered).sum()
    (gradient,) = torch.autograd.grad(loss, volume)
    with torch.no_grad():
        volume -= gradient
    volume.requires_grad_(False)


def update_rows(options: Options, scene: Scene) -> dict[str, float]:
    """One view's update: closed form, by autograd, and by autograd with the NeRF evaluated."""
    prepared = scene.prepared(0)
    operator, camera = prepared.operator, prepared.camera
    mask = (torch.rand(operator.num_rays) > 0.5).float().to(scene.device)
    evidence = Evidence.none(len(scene.elements), scene.device)
    vote = Vote(mask, torch.ones_like(mask))
    volume = torch.zeros(scene.config.resolution**3, device=scene.device)

    def with_nerf() -> None:
        fresh, _ = build_view_operator(
            scene.field, camera, scene.grid, min_weight=scene.config.min_weight
        )
        dense_autograd_step(fresh.to(scene.device), volume, mask)

    return {
        "closed form, vote (F and T)": _median_seconds(
            lambda: evidence.add(operator, vote), options.repeats
        ),
        "closed form, gradient step": _median_seconds(
            lambda: sa3d_gradient_step(operator, mask, LAM), options.repeats
        ),
        "autograd on the dense grid": _median_seconds(
            lambda: dense_autograd_step(operator, volume, mask), options.repeats
        ),
        "autograd, NeRF evaluated as SA3D does": _median_seconds(
            with_nerf, max(1, options.repeats // 2)
        ),
    }


def growth_rows(options: Options, scene: Scene) -> list[tuple[str, str, float]]:
    """Memory of operators and evidence as views, resolution and objects grow, in MiB."""
    rows = []
    for views in (len(scene.views) // 4, len(scene.views) // 2, len(scene.views)):
        operators = [scene.prepared(i).operator for i in range(views)]
        elements = len(torch.unique(torch.cat([o.keys for o in operators])))
        rows.append((f"{views} views", f"{elements:,} elements", _operator_mib(operators)))
    camera: Camera = scene.prepared(0).camera
    field_: RadianceField = scene.field
    for resolution in (128, 256, 512):
        grid = type(scene.grid)(field_.bounds, resolution)
        operator, _ = build_view_operator(field_, camera, grid, min_weight=scene.config.min_weight)
        text = f"{len(operator.keys):,} elements of {resolution**3:,} voxels"
        rows.append((f"one view at {resolution}^3", text, _operator_mib([operator])))
    for objects in (1, 5, 10):
        mib = objects * 2 * 4 * len(scene.elements) / 2**20
        rows.append((f"{objects} objects' evidence", f"{len(scene.elements):,} elements", mib))
    return rows


def _operator_mib(operators: list[ViewOperator]) -> float:
    tensors = [t for o in operators for t in (o.crow, o.col, o.weight, o.keys, o.element_ids)]
    return sum(t.numel() * t.element_size() for t in tensors) / 2**20


def pruning_rows(options: Options, scene: Scene) -> list[tuple[float, float, float, float]]:
    """What pruning costs: threshold, entries per ray, mean and 99th percentile mask error."""
    camera = scene.prepared(0).camera
    whole, _ = build_view_operator(scene.field, camera, scene.grid, min_weight=0.0)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((1, 1, 8, 8, 8), generator=generator)
    cells = scene.grid.cells(whole.keys).float() / scene.config.resolution * 2 - 1
    values = torch.nn.functional.grid_sample(
        coarse, cells.flip(-1)[None, None, None], align_corners=True
    ).reshape(-1)
    bound = whole.bind(whole.keys)
    exact = bound.render(values) / bound.accumulation.clamp_min(1e-6)
    rows = []
    for threshold in (0.001, 0.003, 0.01, 0.03, 0.1):
        pruned, _ = build_view_operator(scene.field, camera, scene.grid, min_weight=threshold)
        kept = pruned.bind(whole.keys)
        error = (kept.render(values) / kept.accumulation.clamp_min(1e-6) - exact).abs()
        rows.append(
            (
                threshold,
                len(pruned.col) / pruned.num_rays,
                float(error.mean()),
                float(error.quantile(0.99)),
            )
        )
    return rows


def main(options: Options) -> None:
    """Measure and write the table."""
    demo = open_demo(options.scene)
    prepare = PrepareConfig(ray_side=options.ray_side)
    with tempfile.TemporaryDirectory() as cache:
        run = lambda: open_scene(  # noqa: E731
            demo.load_config, demo.folder, options.device, prepare, Path(cache)
        )[1]
        scene = run()
        prompts = [[demo.prompts[name]] for name in options.objects]
        first, watch, _ = run_session(scene, prompts[0], options.device)
        second_object, second_watch, _ = run_session(scene, prompts[1], options.device)
        again, again_watch, _ = run_session(run(), prompts[0], options.device)
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
            "updates": update_rows(options, scene),
            "growth": growth_rows(options, scene),
            "pruning": pruning_rows(options, scene),
        }
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    numbers["peak_gib"] = peak_kib / 2**20
    if options.device == "cuda":
        numbers["peak_gpu_gib"] = torch.cuda.max_memory_allocated() / 2**30
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.with_suffix(".json").write_text(json.dumps(numbers, indent=1))
    text = _markdown(options, numbers)
    options.output.write_text(text)
    print(text)


def _markdown(options: Options, numbers: dict[str, Any]) -> str:
    first, second, cached = numbers["first"], numbers["second_object"], numbers["cached"]
    parts = first["parts"]
    other = first["seconds"] - sum(parts.values())
    updates = numbers["updates"]
    closed = updates["closed form, vote (F and T)"]
    lines = [
        "# Benchmark",
        "",
        f"Made by `python scripts/bench.py --scene {options.scene} --device {options.device} "
        f"--ray-side {options.ray_side}`; {os.cpu_count()} cores, torch {torch.__version__}, "
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
        *_objects_table(numbers["objects"], first["seconds"]),
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


def _objects_table(rows: dict[str, list[dict[str, float]]], first: float) -> list[str]:
    """Time per object and view in units of that of the first object alone, and the tenth's."""
    unit = {kind: of[0]["decoder"] + of[0]["else"] for kind, of in rows.items()}
    lines = [
        "| objects in one pass, time per object and view, one object = 1 | in views of their own: "
        "segmenter | everything else | in the same view: segmenter | everything else |",
        "|---|---|---|---|---|",
    ]
    for own, one in zip(rows["own"], rows["one"], strict=True):
        parts = [own[p] / unit["own"] for p in ("decoder", "else")]
        parts += [one[p] / unit["one"] for p in ("decoder", "else")]
        shown = " | ".join(f"{part:.3f}" for part in parts)
        lines.append(f"| {own['objects']} | {shown} |")
    alone, most = rows["one"][0], rows["one"][-1]
    further = (most["seconds"] - alone["seconds"]) / max(most["objects"] - alone["objects"], 1)
    share = most["decoder"] / (most["decoder"] + most["else"])
    return [
        *lines,
        "",
        f"A further object in the same view: {further / first:.3f} of the first one from nothing, "
        f"{share:.0%} of it the segmenter.",
        "",
    ]


if __name__ == "__main__":
    main(tyro.cli(Options))
