"""How well one prompted view becomes masks in all views, on scenes with exact masks.

For every object and reference view: the single lifted view, the first pass, the converged result,
and the upper bound (exact masks in every view). The prompt is the box of the exact mask, with
``--clicks`` also corrective clicks in the same view, as a user gives who looks at its mask.

    python scripts/benchmarks/scene.py --load-config RUN/config.yml --data DATA \
        --masks skull=DATA/masks_gt --references 000024.jpg
    python scripts/benchmarks/scene.py --demo room --spread 10        # the drift table
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from scipy.stats import rankdata

from nerfstudio_plugin.demo.data import open_demo
from nerfstudio_plugin.runs.scene_loading import open_scene
from nerfstudio_plugin.saved.overlay import overlay_sheet
from sa3d.base.errors import SA3DError
from sa3d.evaluation.simulated_user import box_of, prompt_until_right
from sa3d.evaluation.stages import STAGES, StageRecorder, iou, upper_bound
from sa3d.geometry.view_schedule import camera_distances, farthest_views
from sa3d.loop.config import LoopConfig
from sa3d.loop.session import Session
from sa3d.objects.checkpoint import read_bitmap
from sa3d.objects.prompts import Prompt, load_prompts
from sa3d.objects.segmentation import Segmentation
from sa3d.results.final_masks import final_masks
from sa3d.scene.config import PrepareConfig
from sa3d.scene.scene import Scene
from sa3d.segmenters.loading import load_segmenter

COLUMNS = (*STAGES, "upper_bound")
CONTENT = 0.9
"""IoU of the prompted view's mask with which the simulated user clicks no further."""
Masks = Mapping[int, np.ndarray]
"""Exact masks [H, W] bool by view index; views without one are not measured."""


@dataclass
class Options:
    """What to measure."""

    load_config: Path | None = None
    """The trained run."""
    data: Path | None = None
    """Its data, if moved."""
    masks: tuple[str, ...] = ()
    """NAME=FOLDER of exact masks, PNG by image stem."""
    demo: Literal["room", "garden"] | None = None
    """A demo scene instead of the three above."""
    references: tuple[str, ...] = ()
    """Prompted views; one run each."""
    spread: int = 0
    """This many references spread over the views that show the object, instead of naming them."""
    clicks: int = 0
    """After the box, a simulated user clicks up to so often where the mask of the prompted view is
    most wrong, until its IoU is 0.9."""
    prompts: Path | None = None
    """A prompts.json instead of boxes: one run with all of it."""
    objects: tuple[str, ...] = ()
    """Only these objects."""
    cache_dir: Path | None = None
    """Where scene caches lie."""
    output: Path | None = None
    """Folder for pictures and numbers.json."""
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    """How the scene is prepared."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """How the loop decides."""


def load_masks(folder: Path, scene: Scene) -> Masks:
    """Exact masks by view, from a folder of PNGs named by image stem (leading zeros may differ)."""
    files = {path.stem.lstrip("0"): path for path in sorted(folder.glob("*.png"))}
    found = {}
    for index, view in enumerate(scene.views):
        path = files.get(Path(view.name).stem.lstrip("0"))
        if path is not None:
            found[index] = read_bitmap(path)
    if not found:
        raise SA3DError(f"{folder} holds no masks named like the scene's images")
    return found


def spread_references(scene: Scene, masks: Masks, count: int) -> list[int]:
    """Views far from each other in which the object is well visible (half the median area)."""
    areas = {index: int(mask.sum()) for index, mask in masks.items()}
    enough = 0.5 * float(np.median([area for area in areas.values() if area]))
    candidates = [index for index, area in areas.items() if area >= enough]
    distances = camera_distances([view.camera for view in scene.views])
    return farthest_views(distances, candidates, count)


def reference_prompt(scene: Scene, name: str, index: int, exact: np.ndarray, clicks: int) -> Prompt:
    """The box of an exact mask, and clicks where the segmenter needs them."""
    prompt = Prompt(scene.views[index].name, name, box=box_of(exact))
    if not clicks:
        return prompt
    segmenter = load_segmenter("graphcut")
    scene.encode(index, segmenter)
    return prompt_until_right(segmenter, exact, prompt, clicks=clicks, enough=CONTENT)


def mean_ious(scene: Scene, result: Segmentation, exact: Mapping[str, Masks]) -> dict[str, float]:
    """Mean by object over the views with an exact mask in which either mask is not empty."""
    views = sorted({index for name in result.objects for index in exact[name]})
    mine = {index: final_masks(scene, result, index) for index in views}
    means = {}
    for name in result.objects:
        pairs = [(mine[index][name][0], mask) for index, mask in exact[name].items()]
        means[name] = float(np.mean([iou(a, b) for a, b in pairs if a.any() or b.any()]))
    return means


def measure(
    scene: Scene, prompts: Sequence[Prompt], masks: Mapping[str, Masks], loop: LoopConfig
) -> tuple[dict[str, dict[str, float]], Segmentation]:
    """One run over all prompted objects: mean IoU by object and stage."""
    session = Session(scene, load_segmenter("graphcut"), loop)
    session.add_prompts(prompts)
    recorder = StageRecorder()
    for _ in recorder.watch(session):
        pass
    by_stage = {
        stage: mean_ious(scene, recorder.segmentation(session, stage), masks) for stage in STAGES
    }
    result = session.result()
    return {n: {stage: by_stage[stage][n] for stage in STAGES} for n in result.objects}, result


def upper_bounds(
    scene: Scene, masks: Mapping[str, Masks], loop: LoopConfig
) -> dict[str, float | None]:
    """Exact masks vote in every view; None where not every view has one."""
    bounds: dict[str, float | None] = {}
    for name, exact in masks.items():
        bounds[name] = None
        if len(exact) == len(scene.views):
            result = upper_bound(scene, {name: [exact[i] for i in sorted(exact)]}, loop)
            bounds[name] = mean_ious(scene, result, masks)[name]
    return bounds


def open_target(options: Options) -> tuple[Scene, dict[str, Masks], dict[str, Prompt]]:
    """The prepared scene, its exact masks and, for demo scenes, its default prompts."""
    prompts: dict[str, Prompt] = {}
    if options.demo:
        demo = open_demo(options.demo)
        load_config, data, prompts = demo.load_config, demo.folder, demo.prompts
        folders = {name: data / "masks_gt" / name for name in prompts}
    elif options.load_config:
        load_config, data = options.load_config, options.data
        folders = {n: Path(f) for n, f in (entry.split("=", 1) for entry in options.masks)}
    else:
        raise SA3DError("name a run with --load-config, or a demo scene with --demo")
    _, scene = open_scene(load_config, data, "auto", options.prepare, options.cache_dir)
    for done in scene.prepare():
        print(f"\rprepared {done.index + 1}/{done.total}", end="", flush=True)
    print()
    wanted = options.objects or tuple(folders)
    return scene, {name: load_masks(folders[name], scene) for name in wanted}, prompts


def main(options: Options) -> None:
    """Measure, print the table, write pictures."""
    scene, masks, defaults = open_target(options)
    bounds = upper_bounds(scene, masks, options.loop)
    rows: list[dict[str, Any]] = []
    print("| object | reference | " + " | ".join(c.replace("_", " ") for c in COLUMNS) + " |")
    print("|---" * (2 + len(COLUMNS)) + "|")
    for label, prompts in _runs(options, scene, masks, defaults):
        scores, result = measure(scene, prompts, masks, options.loop)
        for name, by_stage in scores.items():
            row = {"object": name, "reference": label, **by_stage, "upper_bound": bounds[name]}
            rows.append(row | {"held_out_agreement": result.object(name).held_out_agreement})
            cells = [f"{row[c]:.3f}" if row[c] is not None else "-" for c in COLUMNS]
            print(f"| {name} | {label} | " + " | ".join(cells) + " |", flush=True)
        if options.output:
            overlay_sheet(
                scene, result, options.output / f"{'-'.join(scores)}_{Path(label).stem}.png"
            )
    gains = [row["converged"] - row["lifted"] for row in rows]
    print(
        f"{len(rows)} runs; converged minus lifted: median {np.median(gains):+.3f}, "
        f"worst {min(gains):+.3f}, {sum(g < 0 for g in gains)} below the lifted view; "
        f"mean converged {np.mean([row['converged'] for row in rows]):.3f}"
    )
    kept = [row for row in rows if row["held_out_agreement"] is not None]
    if len(kept) > 2:
        pairs = np.array([(row["held_out_agreement"], row["converged"]) for row in kept]).T
        ranks = np.stack([rankdata(column) for column in pairs])
        print(
            f"held-out agreement and converged IoU, {len(kept)} runs that kept their votes: "
            f"Pearson {np.corrcoef(pairs)[0, 1]:.2f}, Spearman {np.corrcoef(ranks)[0, 1]:.2f}"
        )
    if options.output:
        numbers = {"rows": rows, "loop": asdict(options.loop), "prepare": asdict(options.prepare)}
        (options.output / "numbers.json").write_text(json.dumps(numbers, indent=1))


def _runs(
    options: Options, scene: Scene, masks: Mapping[str, Masks], defaults: Mapping[str, Prompt]
) -> list[tuple[str, list[Prompt]]]:
    if options.prompts:
        return [("prompts file", load_prompts(options.prompts))]
    if not options.references and not options.spread:
        return [("default", [defaults[name] for name in masks])]
    runs = []
    for name, exact in masks.items():
        chosen = [scene.view_index(reference) for reference in options.references]
        for index in chosen or spread_references(scene, exact, options.spread):
            prompt = reference_prompt(scene, name, index, exact[index], options.clicks)
            runs.append((scene.views[index].name, [prompt]))
    return runs


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
