"""Where the time and the memory go: ratios measured side by side in one run, as a table.

    python scripts/bench.py --output docs/benchmark.md

Medians of several repetitions; absolute seconds are left to the machine's owner.
"""

from __future__ import annotations

import json
import resource
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from bench_correction import correction_seconds
from bench_operators import growth_rows, pruning_rows, update_rows
from bench_table import markdown
from bench_timing import Stopwatch, median_seconds, synchronise

from nerfstudio_plugin.demo.data import open_demo
from nerfstudio_plugin.runs.scene_loading import open_scene
from sa3d.loop.session import Session
from sa3d.objects.events import ViewDone
from sa3d.objects.prompts import Prompt
from sa3d.scene.config import PrepareConfig
from sa3d.scene.scene import Scene
from sa3d.segmenters import load_segmenter
from sa3d.segmenters.protocol import PromptableSegmenter


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
    sam: str = "sam2.1-tiny"
    """A model of true size and random weights whose decoder is timed beside; empty: none."""
    output: Path = Path("docs/benchmark.md")
    """The table; the numbers behind it go to the same name with .json."""


def timed_segmenter(watch: Stopwatch, device: str) -> PromptableSegmenter:
    """The embedded segmenter; all time in it goes to ``segmenter``."""
    segmenter = load_segmenter("graphcut", device)
    for method in ("set_image", "predict", "sample_appearance", "restore_state"):
        setattr(segmenter, method, watch.wrap("segmenter", getattr(segmenter, method)))
    return segmenter


def sam_prompt_seconds(options: Options) -> float:
    """A prompt to a SAM of true size whose image is encoded."""
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
    """Prepare what is not prepared, segment objects.

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
    """Seconds of a correction, with and without the segmenter."""
    watch = Stopwatch()
    session = Session(scene, timed_segmenter(watch, options.device))
    session.add_prompts([prompt])
    for _ in session.run():
        pass
    spent = lambda: watch.seconds["segmenter"]  # noqa: E731
    return correction_seconds(session, prompt.object, spent, options.repeats)


def objects_rows(options: Options, scene: Scene) -> dict[str, list[dict[str, float]]]:
    """Seconds in the segmenter and in all else, for several objects in one pass.

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
            "sam": {"name": options.sam, "prompt": options.sam and sam_prompt_seconds(options)},
            "updates": update_rows(scene, options.repeats),
            "growth": growth_rows(scene),
            "pruning": pruning_rows(scene),
        }
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    numbers["peak_gib"] = peak_kib / 2**20
    if options.device == "cuda":
        numbers["peak_gpu_gib"] = torch.cuda.max_memory_allocated() / 2**30
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.with_suffix(".json").write_text(json.dumps(numbers, indent=1))
    command = f"python scripts/{Path(__file__).name} {shlex.join(sys.argv[1:])}".strip()
    text = markdown(command, numbers)
    options.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main(tyro.cli(Options))
