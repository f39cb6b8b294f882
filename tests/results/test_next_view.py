"""Ranking of views by the benefit of a prompt, without segmenter and NeRF."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sa3d.base.errors import SA3DError
from sa3d.geometry.view_schedule import camera_distances
from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import ObjectResult, Segmentation, ViewRecord
from sa3d.results.next_view import AGAIN, AROUND, next_views
from sa3d.testing.analytic_scene import AnalyticScene, analytic_scene, voted_segmentation


def changed(voted: Segmentation, **values: object) -> Segmentation:
    one: ObjectResult = replace(voted.object("ball"), **values)  # pyright: ignore
    return replace(voted, objects={"ball": one})


def test_a_view_whose_mask_lacks_half_comes_first(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    views = dict(voted.object("ball").views)
    half = still_life.masks["ball"][5].copy()
    half[: int(np.nonzero(half)[0].mean()) + 1] = False
    views[5] = ViewRecord("rejected", 0.45, 0.9, 0.0, half)
    first, *others = next_views(still_life.scene, changed(voted, views=views), "ball")
    assert first.index == 5
    assert first.view == still_life.scene.views[5].name
    assert first.disagreement > 0.2
    assert "differ (IoU 0.45)" in first.reason
    assert "was rejected" in first.reason
    assert [one.score for one in others] == sorted((o.score for o in others), reverse=True)
    assert {first.index, *(one.index for one in others)} == set(range(12))


def test_the_users_own_mask_has_no_agreement(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    views = dict(voted.object("ball").views)
    views[2] = replace(views[2], outcome="prompted", mask=~still_life.masks["ball"][2])
    first = next_views(still_life.scene, changed(voted, views=views), "ball", 1)[0]
    assert first.index == 2
    assert "its own mask and the other views differ" in first.reason
    assert "IoU" not in first.reason  # not measured in a prompted view


def test_elements_without_votes_are_doubtful(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    sure = next_views(still_life.scene, voted, "ball")
    nothing = Evidence.zeros(len(voted.elements))
    unsure = next_views(still_life.scene, changed(voted, evidence=nothing, views={}), "ball", 3)
    assert len(unsure) == 3
    assert unsure[0].doubt > 0.3 > 0.1 > sure[0].doubt
    assert "doubt" in unsure[0].reason


def test_doubt_in_the_views_around_counts(still_life: AnalyticScene, voted: Segmentation) -> None:
    views = dict(voted.object("ball").views)
    cameras = [view.camera for view in still_life.scene.views]
    nearest = camera_distances(cameras)[5].argsort()[1 : AROUND + 1].tolist()
    for index in nearest:
        half = still_life.masks["ball"][index].copy()
        half[: int(np.nonzero(half)[0].mean()) + 1] = False
        views[index] = replace(views[index], mask=half)
    found = next_views(still_life.scene, changed(voted, views=views), "ball")
    ranked = {one.index: one for one in found}
    wrong = [ranked[index].doubt + ranked[index].disagreement for index in nearest]
    assert ranked[5].around == pytest.approx(np.mean(wrong))
    assert ranked[5].around > 0.2
    own = ranked[5].doubt + ranked[5].disagreement
    assert ranked[5].score == pytest.approx(own + ranked[5].around)
    assert "views around it" in ranked[5].reason


def test_a_view_with_prompts_has_a_lower_score(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    unprompted = changed(voted, evidence=Evidence.zeros(len(voted.elements)), prompts=())
    first = next_views(still_life.scene, unprompted, "ball", 1)[0]
    marked = [Prompt(first.view, "ball", points=((1.0, 1.0),), labels=(1,))] * 2
    again = next_views(still_life.scene, replace_prompts(unprompted, marked), "ball")
    here = next(one for one in again if one.index == first.index)
    assert here.score == pytest.approx(first.score * AGAIN**2)
    assert "has 2 prompts already" in here.reason


def replace_prompts(segmentation: Segmentation, prompts: list[Prompt]) -> Segmentation:
    one = replace(segmentation.object("ball"), prompts=prompts)
    return replace(segmentation, objects={"ball": one})


@pytest.mark.parametrize("count", [1, 3])
def test_the_views_around_are_others(tmp_path: Path, count: int) -> None:
    few = analytic_scene(tmp_path, num_views=count)
    masks = {"ball": few.masks["ball"]}
    segmentation = changed(voted_segmentation(few.scene, masks), views={}, prompts=())
    found = next_views(few.scene, segmentation, "ball")
    for one in found:
        others = [other.doubt for other in found if other is not one]
        assert one.around == pytest.approx(np.mean(others) if others else 0.0)


def test_an_unknown_object_is_refused(still_life: AnalyticScene, voted: Segmentation) -> None:
    with pytest.raises(SA3DError, match="no object 'cup'"):
        next_views(still_life.scene, voted, "cup")
