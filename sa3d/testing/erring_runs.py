"""Runs of the loop on generated scenes with a segmenter that makes errors, one run per seed."""

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
"""Kinds of errors of the segmenter; ``mixed`` is a mixture of all."""
SIZE = (48, 36)
"""Size (width, height) of the photos: small, so that hundreds of runs take minutes."""
MOST = 0.6
"""The segmenter makes errors in at most this share of the views."""


@dataclass(frozen=True)
class ErringRun:
    """An object of a generated scene, segmented with errors in the share ``rate`` of the views."""

    scene: AnalyticScene
    name: str
    kind: str
    rate: float
    segmentation: Segmentation

    def iou(self) -> float:
        """Return the mean IoU of final and exact masks, over the views that show one of them."""
        views = range(len(self.scene.scene.views))
        masks = [final_mask(self.scene.scene, self.segmentation, self.name, i)[0] for i in views]
        return mean_iou_over_views(masks, list(self.scene.masks[self.name]))


def erring_run(folder: Path, seed: int, config: LoopConfig | None = None) -> ErringRun:
    """Draw a scene (2 to 5 solids, 12 to 20 views) and errors at random, and run the loop.

    Solids are as soft as those of a NeRF: light reaches 0.25 to 5 voxels deep. The largest solid of
    the first view is prompted there with its exact mask.

    Args:
        folder: gets the photos and the cache of the scene.
        seed: of the random draws.
        config: settings of the loop.
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
    """Return errors of one of the ``KINDS`` in a share ``rate`` of the images."""
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
