"""The mask generator: formulas by hand, and filters and masks with known results."""

from __future__ import annotations

import numpy as np

from sa3d.segmenters.config import MaskGeneratorConfig
from sa3d.segmenters.mask_generator import (
    GeneratedMask,
    generate_masks,
    grid_points,
    stability,
    suppress_duplicates,
)
from sa3d.testing.analytic_scene import AnalyticScene
from sa3d.testing.oracle_segmenter import OracleSegmenter


def strip(start: int, stop: int, quality: float) -> GeneratedMask:
    mask = np.zeros((4, 10), bool)
    mask[:, start:stop] = True
    return GeneratedMask(mask, quality, 1.0, (0.0, 0.0))


def test_grid_points_are_the_middles_of_the_cells() -> None:
    assert grid_points(8, 4, 2).tolist() == [[2, 1], [6, 1], [2, 3], [6, 3]]


def test_stability_is_the_iou_of_two_thresholds() -> None:
    logits = np.array([[2.0, 1.5, 0.5, -0.5, -1.5]])
    assert stability(logits, 1.0) == 2 / 4
    assert stability(logits - 10, 1.0) == 0.0


def test_the_better_of_two_similar_masks_is_kept() -> None:
    # 0..8 and 2..10: IoU 6 / 10; 0..8 and 1..9: IoU 7 / 9.
    first, near, apart = strip(0, 8, 0.9), strip(1, 9, 0.8), strip(2, 10, 0.7)
    assert suppress_duplicates([apart, near, first], 0.65) == [first, apart]
    assert suppress_duplicates([apart, near, first], 0.8) == [first, near, apart]


def oracle(still_life: AnalyticScene) -> OracleSegmenter:
    image = still_life.scene.views[0].image()
    masks = {"0": {name: stack[0] for name, stack in still_life.masks.items()}}
    segmenter = OracleSegmenter({"0": image}, masks)
    segmenter.set_image(image)
    return segmenter


def test_a_grid_of_points_finds_every_object_once(still_life: AnalyticScene) -> None:
    config = MaskGeneratorConfig(max_area=0.2, min_stability=0.2)
    found = generate_masks(oracle(still_life), (48, 36), config)
    for name in ("ball", "crate"):
        exact = still_life.masks[name][0]
        alike = [m for m in found if (m.mask & exact).sum() > 0.7 * (m.mask | exact).sum()]
        assert len(alike) == 1, name


def test_filters_drop_large_and_doubtful_masks(still_life: AnalyticScene) -> None:
    specks = MaskGeneratorConfig(max_area=0.001, min_stability=0.0)
    unsure = MaskGeneratorConfig()
    unsure.min_predicted_iou = 1.1  # out of range, and so never reached
    assert generate_masks(oracle(still_life), (48, 36), specks) == []
    assert generate_masks(oracle(still_life), (48, 36), unsure) == []
