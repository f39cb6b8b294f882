"""Measure how well one prompted view becomes masks in all views, on scenes with exact masks.

Prints a row for every object and reference view: the single lifted view, the first pass, the
converged result, and the upper bound (exact masks in every view). The prompt is the box of the
exact mask. With ``--clicks``, a simulated user adds corrective clicks in the same view.

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

import sa3d
from nerfstudio_plugin.demo.data import open_demo
from nerfstudio_plugin.saved.overlay import overlay_sheet
from sa3d.base.errors import SA3DError
from sa3d.evaluation.simulated_user import box_of, prompt_until_right
from sa3d.evaluation.stages import STAGES, StageRecorder, iou, upper_bound
from sa3d.geometry.view_schedule import camera_distances, farthest_views
from sa3d.loop.config import LoopConfig
from sa3d.loop.session import Session
from sa3d.loop.settings import Settings
from sa3d.objects.checkpoint import read_bitmap
from sa3d.objects.prompts import Prompt, load_prompts
from sa3d.objects.segmentation import Segmentation
from sa3d.results.final_masks import final_masks
from sa3d.scene.config import PrepareConfig
from sa3d.scene.scene import Scene
from sa3d.segmenters.loading import load_segmenter

COLUMNS = (*STAGES, "upper_bound")
ENOUGH = 0.9
"""The simulated user stops clicking at this IoU of the prompted view's mask."""
Masks = Mapping[int, np.ndarray]
"""Exact masks [H, W] bool by view index. Views without one are not measured."""


@dataclass
class Options:
    """Command-line options."""

    load_config: Path | None = None
    """The trained run."""
    data: Path | None = None
    """The run's data, if they were moved."""
    masks: tuple[str, ...] = ()
    """NAME=FOLDER: exact masks of an object, PNG files named by photo stem."""
    demo: Literal["room", "garden"] | None = None
    """A demo scene instead of the three above; with --load-config, another run on its photos."""
    references: tuple[str, ...] = ()
    """Views to prompt, one run each."""
    spread: int = 0
    """Number of views to prompt, one run each, spread over the views that show the object. Used
    where no references are named."""
    clicks: int = 0
    """Largest number of clicks after the box. A simulated user clicks where the mask of the
    prompted view is most wrong, until its IoU is 0.9."""
    prompts: Path | None = None
    """A prompts.json to use instead of boxes: one run with the prompts of all objects."""
    objects: tuple[str, ...] = ()
    """Objects to measure. By default those of the prompts file, or all that have exact masks."""
    cache_dir: Path | None = None
    """Folder of the scene caches."""
    output: Path | None = None
    """Folder for images and numbers.json."""
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    """Settings of the scene's preparation."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """Settings of the loop."""


def load_masks(folder: Path, scene: Scene) -> Masks:
    """Return exact masks by view, from a folder of PNG files named by photo stem.

    Leading zeros of the names may differ.

    Raises:
        SA3DError: no file of the folder is named like a photo of the scene.
    """
    files = {path.stem.lstrip("0"): path for path in sorted(folder.glob("*.png"))}
    found = {}
    for index, view in enumerate(scene.views):
        path = files.get(Path(view.name).stem.lstrip("0"))
        if path is not None:
            found[index] = read_bitmap(path)
    if not found:
        raise SA3DError(
            f"no mask in {str(folder)!r} belongs to a view: name the PNG files by photo stem"
        )
    return found


def spread_references(scene: Scene, masks: Masks, count: int) -> list[int]:
    """Return views far from each other that show the object at half its median area or more."""
    areas = {index: int(mask.sum()) for index, mask in masks.items()}
    enough = 0.5 * float(np.median([area for area in areas.values() if area]))
    candidates = [index for index, area in areas.items() if area >= enough]
    distances = camera_distances([view.camera for view in scene.views])
    return farthest_views(distances, candidates, count)


def reference_prompt(scene: Scene, name: str, index: int, exact: np.ndarray, clicks: int) -> Prompt:
    """Return the box of an exact mask, with clicks where the segmenter needs them."""
    prompt = Prompt(scene.views[index].name, name, box=box_of(exact))
    if not clicks:
        return prompt
    segmenter = load_segmenter("graphcut")
    scene.encode(index, segmenter)
    return prompt_until_right(segmenter, exact, prompt, clicks=clicks, enough=ENOUGH)


def mean_ious(scene: Scene, result: Segmentation, exact: Mapping[str, Masks]) -> dict[str, float]:
    """Return the mean IoU by object, over the views in which either mask is not empty."""
    views = sorted({index for name in result.objects for index in exact[name]})
    found = {index: final_masks(scene, result, index) for index in views}
    means = {}
    for name in result.objects:
        pairs = [(found[index][name][0], mask) for index, mask in exact[name].items()]
        means[name] = float(np.mean([iou(a, b) for a, b in pairs if a.any() or b.any()]))
    return means


def measure(
    scene: Scene, prompts: Sequence[Prompt], masks: Mapping[str, Masks], loop: LoopConfig
) -> tuple[dict[str, dict[str, float]], Segmentation]:
    """Segment all prompted objects in one run; return mean IoU by object and stage."""
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
    """Return the mean IoU if exact masks vote in every view; None where a view has none."""
    bounds: dict[str, float | None] = {}
    for name, exact in masks.items():
        bounds[name] = None
        if len(exact) == len(scene.views):
            result = upper_bound(scene, {name: [exact[i] for i in sorted(exact)]}, loop)
            bounds[name] = mean_ious(scene, result, masks)[name]
    return bounds


def open_target(options: Options) -> tuple[Scene, dict[str, Masks], dict[str, Prompt]]:
    """Return the prepared scene, its exact masks and, for demo scenes, its default prompts.

    Raises:
        SA3DError: no scene is named, or an object to measure has no exact masks.
    """
    prompts: dict[str, Prompt] = {}
    if options.demo:
        demo = open_demo(options.demo)
        load_config, data = options.load_config or demo.load_config, demo.folder
        prompts = demo.prompts
        folders = {name: data / "masks_gt" / name for name in prompts}
    elif options.load_config:
        load_config, data = options.load_config, options.data
        folders = {n: Path(f) for n, f in (entry.split("=", 1) for entry in options.masks)}
    else:
        raise SA3DError("no scene: name a run with --load-config, or a demo scene with --demo")
    wanted = measured_objects(options, tuple(folders))
    settings = Settings(prepare=options.prepare)
    scene = sa3d.open(load_config, settings, data=data, cache_dir=options.cache_dir).scene
    for done in scene.prepare():
        print(f"\rprepared {done.index + 1}/{done.total}", end="", flush=True)
    print()
    return scene, {name: load_masks(folders[name], scene) for name in wanted}, prompts


def measured_objects(options: Options, with_masks: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the objects to measure.

    Raises:
        SA3DError: one of them has no exact masks, or the prompts file has no prompt for it.
    """
    prompts = load_prompts(options.prompts) if options.prompts else []
    prompted = dict.fromkeys(prompt.object for prompt in prompts)
    names = options.objects or tuple(prompted) or tuple(with_masks)
    for name in names:
        if name not in with_masks:
            raise SA3DError(
                f"no exact masks of object {name!r}: name their folder with --masks, or measure "
                f"some of these with --objects: {', '.join(with_masks)}"
            )
        if prompted and name not in prompted:
            raise SA3DError(
                f"no prompt for object {name!r} in {str(options.prompts)!r}: add one, or measure "
                f"some of these with --objects: {', '.join(prompted)}"
            )
    return names


def main(options: Options) -> None:
    """Measure, print the table, and write images."""
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
        prompts = [prompt for prompt in load_prompts(options.prompts) if prompt.object in masks]
        return [("prompts file", prompts)]
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
