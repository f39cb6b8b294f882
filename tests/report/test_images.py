from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import Segmentation
from sa3d.report.images import HEAT, UNKNOWN, doubt_image, prompt_image
from sa3d.testing.analytic_scene import AnalyticScene


def test_prompts_are_drawn(still_life: AnalyticScene) -> None:
    name = still_life.scene.views[0].name
    prompt = Prompt(name, points=((10.0, 8.0), (30.0, 20.0)), labels=(1, 0), box=(4, 3, 40, 30))
    drawn = prompt_image(still_life.scene, 0, [prompt])
    plain = still_life.scene.views[0].image()
    assert drawn[8, 10].tolist() == [40, 200, 90]
    assert drawn[20, 30].tolist() == [235, 50, 60]
    assert drawn[3, 20].tolist() == [255, 210, 40]
    np.testing.assert_array_equal(drawn[33:], plain[33:])
    masked = Prompt(name, mask=np.pad(np.ones((10, 10), bool), ((0, 26), (0, 38))))
    changed = (prompt_image(still_life.scene, 0, [masked]) != plain).any(axis=2)
    assert changed[:10, :10].mean() > 0.9
    assert not changed[10:].any()


def test_doubt_glows_at_even_odds_and_is_blue_without_votes(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    def shown(evidence: Evidence, prior: float = 0.5) -> np.ndarray:
        one = replace(voted.object("ball"), evidence=evidence)
        changed = replace(voted, objects={"ball": one}, prior=prior)
        return doubt_image(still_life.scene, changed, "ball", 0)

    total = torch.full_like(voted.object("ball").evidence.total, 100.0)
    on = still_life.masks["ball"][0]
    split = shown(Evidence(total / 2, total))[on]
    assert abs(split.astype(int) - HEAT[-1]).max() <= 3
    sure = shown(Evidence(total, total))[on].astype(int)
    assert (sure.max(axis=-1) - sure.min(axis=-1)).max() <= 3  # grey
    unknown = shown(Evidence.zeros(len(total)))[on].mean(axis=0)
    assert unknown.argmax() == np.argmax(UNKNOWN)
