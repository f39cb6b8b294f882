"""Tests of the baselines, and of how they differ from the loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sa3d.evaluation.baselines import EqualVotes, original_single_pass, published_self_prompt
from sa3d.evaluation.stages import mean_iou_over_views
from sa3d.loop.rounds import segment_object
from sa3d.objects.prompts import Prompt
from sa3d.testing.analytic_scene import AnalyticScene
from sa3d.testing.oracle_segmenter import OracleErrors, OracleSegmenter


def oracle(scene: AnalyticScene, errors: OracleErrors | None = None) -> OracleSegmenter:
    views = scene.scene.views
    masks = {v.name: {n: scene.masks[n][i] for n in scene.masks} for i, v in enumerate(views)}
    return OracleSegmenter({v.name: v.image() for v in views}, masks, errors)


def single_pass_iou(scene: AnalyticScene, errors: OracleErrors, min_iou: float = 0.5) -> float:
    exact = list(scene.masks["ball"])
    values = original_single_pass(scene.scene, oracle(scene, errors), 0, exact[0], min_iou=min_iou)
    prepared = [scene.scene.prepared(i) for i in range(len(exact))]
    masks = [(one.operator.render(values) > 0).reshape(exact[0].shape).numpy() for one in prepared]
    return mean_iou_over_views(masks, exact)


def test_the_single_pass_finds_the_object_and_skips_views_that_found_another(
    still_life: AnalyticScene,
) -> None:
    assert single_pass_iou(still_life, OracleErrors()) > 0.9
    wrong = OracleErrors(wrong=0.3)
    assert single_pass_iou(still_life, wrong) > single_pass_iou(still_life, wrong, min_iou=0.0)


def test_prompts_stay_near_the_brightest_pixel_but_not_on_it() -> None:
    rendered = torch.zeros(20, 30)
    rendered[5:15, 2:12] = 1.0
    rendered[8, 6] = 2.0
    rendered[5:15, 25:29] = 0.4  # far away and dim: lowered below 0
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    points = torch.stack([x, y, torch.zeros_like(x)], dim=-1)
    prompts = published_self_prompt(rendered, points, 3)
    assert prompts.tolist()[0] == [6, 8]
    assert len(prompts) == 3
    assert (prompts[:, 0] < 12).all()
    assert len(np.unique(prompts, axis=0)) == 3


def test_nothing_bright_is_no_prompt() -> None:
    assert published_self_prompt(-torch.ones(6, 8), torch.zeros(6, 8, 3), 3).shape == (0, 2)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_equal_votes_believe_every_view_alike(still_life: AnalyticScene, share: float) -> None:
    segmenter = oracle(still_life, OracleErrors(wrong=share, seed=1))
    prompt = Prompt(still_life.scene.views[0].name, "ball", mask=still_life.masks["ball"][0])
    loop = EqualVotes(still_life.scene, segmenter, "ball", [prompt], EqualVotes.config())
    list(segment_object(loop))
    voted = [r for r in loop.state.records.values() if r.outcome in ("prompted", "accepted")]
    assert {record.confidence for record in voted} == {1.0}
    assert all(record.outcome != "rejected" for record in loop.state.records.values())
    if share == 0:
        assert min(record.agreement for record in voted) > 0.8
    else:
        assert min(record.agreement for record in voted) < 0.5
