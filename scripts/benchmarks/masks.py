"""Measure what the photo's edges add to exported masks: IoU and boundary F-score, before and after.

Measures a saved segmentation of a scene with exact masks. Boundary F is that of DAVIS, at the given
tolerances: the mean over the views in which either mask is not empty, then over the objects.

    python scripts/benchmarks/masks.py --segmentation skull --masks skull=DATA/masks_gt
    python scripts/benchmarks/masks.py --segmentation outputs/demo/room/segmentation --demo room
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from scene import Masks, load_masks

from nerfstudio_plugin.cli.options import SavedOptions
from nerfstudio_plugin.demo.data import open_demo
from sa3d.base.errors import SA3DError
from sa3d.evaluation.stages import boundary_f, iou
from sa3d.objects.segmentation import Segmentation
from sa3d.results.config import RefinementConfig
from sa3d.results.mask_refinement import refined_masks
from sa3d.scene.scene import Scene


@dataclass(kw_only=True)
class Options(SavedOptions):
    """Command-line options."""

    masks: tuple[str, ...] = ()
    """OBJECT=FOLDER: exact masks of an object, PNG files named by photo stem."""
    demo: Literal["room", "garden"] | None = None
    """A demo scene whose exact masks are taken instead."""
    tolerances_px: tuple[float, ...] = (1.0, 2.0)
    """Largest distances at which borders agree."""
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    """Settings of the refinement."""

    def folders(self) -> dict[str, Path]:
        """Return the folders of exact masks by object."""
        if self.demo:
            demo = open_demo(self.demo)
            return {name: demo.folder / "masks_gt" / name for name in demo.prompts}
        if not self.masks:
            raise SA3DError("name exact masks with --masks, or a demo scene with --demo")
        return {name: Path(folder) for name, folder in (m.split("=", 1) for m in self.masks)}


def measure(
    scene: Scene,
    segmentation: Segmentation,
    exact: Mapping[str, Masks],
    config: RefinementConfig | None,
    tolerances_px: tuple[float, ...],
) -> dict[str, np.ndarray]:
    """Return, by object, the mean IoU and the mean boundary F at every tolerance."""
    found: dict[str, list[list[float]]] = {name: [] for name in exact}
    for index in range(len(scene.views)):
        masks = refined_masks(scene, segmentation, index, config)
        for name in exact:
            truth = exact[name].get(index)
            if truth is None or not (truth.any() or masks[name].any()):
                continue
            borders = [boundary_f(masks[name], truth, tolerance) for tolerance in tolerances_px]
            found[name].append([iou(masks[name], truth), *borders])
    return {name: np.mean(rows, axis=0) for name, rows in found.items()}


def main(options: Options) -> None:
    """Measure and print the table."""
    opened = options.reopen()
    scene, segmentation = opened.scene, opened.segmentation
    names = options.chosen(segmentation)
    exact = {n: load_masks(f, scene) for n, f in options.folders().items() if n in names}
    before, after = (
        measure(scene, segmentation, exact, config, options.tolerances_px)
        for config in (None, options.refinement)
    )
    columns = ["IoU", *(f"boundary F, {tolerance:g} px" for tolerance in options.tolerances_px)]
    print("| object | " + " | ".join(f"{column}: before | after" for column in columns) + " |")
    print("|---" * (1 + 2 * len(columns)) + "|")
    rows = {name: (before[name], after[name]) for name in exact}
    rows["mean"] = tuple(np.mean(list(values.values()), axis=0) for values in (before, after))
    for name, (old, new) in rows.items():
        cells = [f"{a:.3f} | {b:.3f}" for a, b in zip(old, new, strict=True)]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
