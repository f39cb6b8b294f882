"""Runs of the whole loop on generated scenes with a segmenter that errs, others for every seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sa3d.evaluation.stages import mean_iou_over_views
from sa3d.loop.config import LoopConfig
from sa3d.loop.session import Session
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import Segmentation
from sa3d.results.final_masks import final_mask
from sa3d.testing.analytic_scene import AnalyticScene
from sa3d.testing.oracle_segmenter import OracleErrors, OracleSegmenter
from sa3d.testing.random_scene import largest_in_first_view, random_scene

KINDS = ("dilated", "eroded", "disc", "missing", "neighbour", "wrong", "empty", "mixed")
"""What the segmenter gets wrong; *mixed*: some of all."""
SIZE = (48, 36)
"""Of the photos: small, so that hundreds of runs take minutes."""
MOST = 0.6
"""It errs in up to this share of the views."""


@dataclass(frozen=True)
class ErringRun:
    """One object of one generated scene, segmented by a segmenter that errs in ``rate`` of it."""

    scene: AnalyticScene
    name: str
    kind: str
    rate: float
    segmentation: Segmentation

    def iou(self) -> float:
        """Mean IoU of the final masks with the exact ones, over all views that show either."""
        views = range(len(self.scene.scene.views))
        masks = [final_mask(self.scene.scene, self.segmentation, self.name, i)[0] for i in views]
        return mean_iou_over_views(masks, list(self.scene.masks[self.name]))


def erring_run(folder: Path, seed: int, config: LoopConfig | None = None) -> ErringRun:
    """Draw a scene (2 to 5 solids, 12 to 20 views) and a way to err, and run the loop to its end.

    Solids are fogged like those of a NeRF: light goes 0.25 to 5 of the grid's voxels deep.

    The largest solid of the first photo is marked there with its exact mask.

    Args:
        folder: gets the photos and the scene's cache.
    """
    random = np.random.default_rng([seed, 6])
    count, views = int(random.integers(2, 6)), int(random.integers(12, 21))
    kind, rate = KINDS[seed % len(KINDS)], float(random.uniform(0, MOST))
    density = float(np.exp(random.uniform(np.log(8), np.log(160))))
    scene = random_scene(
        folder, seed, count=count, num_views=views, size=SIZE, resolution=40, density=density
    )
    name, photos = largest_in_first_view(scene), scene.scene.views
    segmenter = OracleSegmenter(
        {view.name: view.image() for view in photos},
        {view.name: {n: m[i] for n, m in scene.masks.items()} for i, view in enumerate(photos)},
        errors_of(kind, rate, seed),
    )
    session = Session(scene.scene, segmenter, config)
    session.add_prompts([Prompt(photos[0].name, name, mask=scene.masks[name][0])])
    for _ in session.run():
        pass
    return ErringRun(scene, name, kind, rate, session.result())


def errors_of(kind: str, rate: float, seed: int) -> OracleErrors:
    """One of the ``KINDS`` in a share ``rate`` of the images."""
    if kind == "mixed":
        part = rate / 5
        return OracleErrors(
            empty=part,
            wrong=part,
            missing=part,
            neighbour=part,
            dilate=0.15,
            dilated=part,
            seed=seed,
        )
    if kind in ("dilated", "eroded"):
        return OracleErrors(dilate=0.15 if kind == "dilated" else -0.15, dilated=rate, seed=seed)
    return OracleErrors(
        leak=rate * (kind == "disc"),
        missing=rate * (kind == "missing"),
        neighbour=rate * (kind == "neighbour"),
        wrong=rate * (kind == "wrong"),
        empty=rate * (kind == "empty"),
        seed=seed,
    )
