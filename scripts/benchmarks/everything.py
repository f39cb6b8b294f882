"""Count the objects that `sa3d segment --everything` finds in a demo scene with exact masks.

An object is found if the mean IoU over all views of one result's final masks with its exact masks
is at least 0.75 (views where neither has a pixel do not count). Recall: share of the exact objects
that are found. Precision: share of the results that are one of them; each result and object counts
once, matched best first. The exact objects are the scene's small ones: a table leg or a tree that
is found lowers the precision.

    python scripts/benchmarks/everything.py --demo room --output outputs/everything
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

import sa3d
from nerfstudio_plugin.demo.data import open_demo
from nerfstudio_plugin.saved.overlay import overlay_sheet
from sa3d.evaluation.stages import mean_iou_over_views
from sa3d.loop.config import LoopConfig
from sa3d.objects.segmentation import Segmentation
from sa3d.results.final_masks import final_masks
from sa3d.scene.scene import Scene
from sa3d.search.config import EverythingConfig
from sa3d.search.everything import EverythingSearch, found_objects
from sa3d.segmenters.loading import load_segmenter

FOUND = 0.75
"""A result with this mean IoU over views is an object."""


@dataclass
class Options:
    """Command-line options."""

    demo: Literal["room", "garden"] = "room"
    """The demo scene."""
    segmenter: str = "graphcut"
    """The segmenter, as for sa3d segment."""
    cache_dir: Path | None = None
    """Folder of the scene caches."""
    output: Path | None = None
    """Folder for the image and numbers.json."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    everything: EverythingConfig = field(default_factory=EverythingConfig)


def iou_table(
    scene: Scene, result: Segmentation, exact: dict[str, list[np.ndarray]]
) -> dict[str, dict[str, float]]:
    """Return the mean IoU over views of every exact object (outer key) and result (inner key)."""
    masks_by_view = [final_masks(scene, result, index) for index in range(len(scene.views))]
    return {
        name: {
            found: mean_iou_over_views([view[found][0] for view in masks_by_view], masks)
            for found in result.objects
        }
        for name, masks in exact.items()
    }


def matched(table: dict[str, dict[str, float]]) -> dict[str, tuple[str, float]]:
    """Pair exact objects with results, the best pair first, each at most once."""
    pairs = sorted(
        ((value, name, found) for name, row in table.items() for found, value in row.items()),
        reverse=True,
    )
    matches: dict[str, tuple[str, float]] = {}
    for value, name, found in pairs:
        if name not in matches and found not in {taken for taken, _ in matches.values()}:
            matches[name] = (found, value)
    return matches


def main(options: Options) -> None:
    """Find everything, print the table, and write the image."""
    demo = open_demo(options.demo)
    opened = sa3d.open(
        demo.load_config, "demo", data=demo.folder, cache_dir=options.cache_dir, device="auto"
    )
    scene = opened.scene
    for _ in scene.prepare():
        pass
    started = time.perf_counter()
    segmenter = load_segmenter(options.segmenter)
    session = EverythingSearch(scene, segmenter, options.loop, options.everything)
    for _ in session.run():
        pass
    result = session.result()
    seconds = time.perf_counter() - started
    exact = {name: demo.exact_masks(name, scene.views) for name in demo.prompts}
    table = iou_table(scene, result, exact)
    matches = matched(table)
    hits = {name for name, (_, value) in matches.items() if value >= FOUND}
    print("| object | best match | mean IoU |\n|---|---|---|")
    for name in exact:
        found, value = matches.get(name, ("-", 0.0))
        print(f"| {name} | {found} | {value:.3f} |")
    unmatched = [name for name in result.objects if name not in {matches[n][0] for n in hits}]
    print(f"results that are none of them: {', '.join(unmatched) or 'none'}")
    precision, recall = len(hits) / len(result.objects), len(hits) / len(exact)
    print(f"precision {precision:.2f}, recall {recall:.2f} at {FOUND}; {seconds:.0f} s")
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        overlay_sheet(scene, result, options.output / f"{options.demo}.png")
        numbers = {
            "matches": matches, "precision": precision, "recall": recall, "seconds": seconds,
            "objects": [asdict(row) for row in found_objects(result)],
        }  # fmt: skip
        (options.output / f"{options.demo}.json").write_text(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
