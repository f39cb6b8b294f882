from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sa3d.base.errors import SA3DError
from sa3d.objects.events import Outcome
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import Segmentation, ViewRecord
from sa3d.results.final_masks import final_mask, rendered_probability
from sa3d.testing.analytic_scene import AnalyticScene


def with_record(voted: Segmentation, index: int, outcome: Outcome, mask, **changes) -> Segmentation:
    ball = voted.object("ball")
    views = ball.views | {index: ViewRecord(outcome, 0.9, 0.9, 1.0, mask)}
    return replace(voted, objects={"ball": replace(ball, views=views, **changes)})


@pytest.mark.parametrize("name", ["ball", "crate"])
def test_exact_votes_give_exact_masks(
    still_life: AnalyticScene, voted: Segmentation, name: str
) -> None:
    masks, truth = [], still_life.masks[name]
    for index in range(len(still_life.scene.views)):
        mask, probability = final_mask(still_life.scene, voted, name, index)
        assert mask.dtype == bool
        assert probability.dtype == np.float32
        assert mask.shape == probability.shape == truth[index].shape
        masks.append(mask)
    assert (masks & truth).sum() / (masks | truth).sum() > 0.97


@pytest.mark.parametrize(("agreement", "weight"), [(1.0, 1.0), (0.9, 0.6561), (0.5, 0.0625)])
def test_a_voting_views_own_mask_counts_as_far_as_others_agree(
    still_life: AnalyticScene, voted: Segmentation, agreement: float, weight: float
) -> None:
    own = np.zeros((36, 48), dtype=bool)
    own[:5] = True
    changed = with_record(voted, 4, "accepted", own)
    record = replace(changed.object("ball").views[4], agreement=agreement)
    changed.object("ball").views[4] = record
    _, probability = final_mask(still_life.scene, changed, "ball", 4)
    rendered = rendered_probability(still_life.scene, changed, "ball", 4)
    np.testing.assert_allclose(probability, (rendered + weight * own) / (1 + weight), rtol=1e-5)


@pytest.mark.parametrize("outcome", ["rejected", "no prompt", "unseen"])
def test_a_view_without_a_vote_has_the_rendered_mask(
    still_life: AnalyticScene, voted: Segmentation, outcome: Outcome
) -> None:
    changed = with_record(voted, 4, outcome, np.ones((36, 48), dtype=bool))
    mask, probability = final_mask(still_life.scene, changed, "ball", 4)
    rendered = rendered_probability(still_life.scene, changed, "ball", 4)
    np.testing.assert_array_equal(probability, rendered)
    np.testing.assert_array_equal(mask, rendered > 0.5)


def test_users_own_mask_is_kept(still_life: AnalyticScene, voted: Segmentation) -> None:
    drawn = np.zeros((36, 48), dtype=bool)
    drawn[30:, :4] = True
    prompt = Prompt(still_life.scene.views[4].name, "ball", mask=drawn)
    changed = with_record(voted, 4, "prompted", drawn, prompts=[prompt])
    mask, _ = final_mask(still_life.scene, changed, "ball", 4)
    np.testing.assert_array_equal(mask, drawn)


def test_objects_do_not_overlap(still_life: AnalyticScene, voted: Segmentation) -> None:
    twin = replace(voted.object("ball"), name="twin")
    both = replace(voted, objects={"ball": voted.object("ball"), "twin": twin})
    ball, _ = final_mask(still_life.scene, both, "ball", 1)
    other, _ = final_mask(still_life.scene, both, "twin", 1)
    assert ball.any()
    assert not (ball & other).any()


def test_larger_photos_get_larger_masks(
    still_life: AnalyticScene, voted: Segmentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = still_life.scene
    views = [replace(view, camera=view.camera.resized(96, 72)) for view in scene.views]
    monkeypatch.setattr(scene, "views", views)
    changed = with_record(voted, 2, "rejected", None)
    mask, _ = final_mask(scene, changed, "ball", 2)
    truth = torch.from_numpy(still_life.masks["ball"][2]).numpy().repeat(2, 0).repeat(2, 1)
    assert mask.shape == (72, 96)
    assert (mask & truth).sum() / (mask | truth).sum() > 0.85


def test_unknown_object(still_life: AnalyticScene, voted: Segmentation) -> None:
    with pytest.raises(SA3DError, match="no object 'cat'"):
        final_mask(still_life.scene, voted, "cat", 0)
