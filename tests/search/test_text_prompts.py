"""Prompts from words: the candidate that the other views confirm is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from sa3d.base.errors import SA3DError
from sa3d.geometry.view_schedule import spread_views
from sa3d.objects.prompts import Prompt
from sa3d.search.config import WordsConfig
from sa3d.search.text_prompts import WordsChoice, WordSearch, needs_words, pixel_box
from sa3d.testing.analytic_scene import AnalyticScene
from sa3d.testing.oracle_detector import OracleDetector
from sa3d.testing.oracle_segmenter import OracleSegmenter


def by_view(scene: AnalyticScene) -> tuple[dict[str, Any], dict[str, Any]]:
    views = scene.scene.views
    masks = {
        view.name: {name: stack[i] for name, stack in scene.masks.items()}
        for i, view in enumerate(views)
    }
    return {view.name: view.image() for view in views}, masks


def edges(mask: np.ndarray) -> tuple[float, ...]:
    y, x = np.nonzero(mask)
    return (float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1))


def search(scene: AnalyticScene, prompt: Prompt, views: int = 5, **errors: Any) -> WordsChoice:
    images, masks = by_view(scene)
    detector = OracleDetector(images, masks, **errors)
    segmenter = OracleSegmenter(images, masks)
    found = WordSearch(scene.scene, segmenter, detector, prompt, WordsConfig(views=views))
    seen = [done.view for done in found.run()]
    assert tuple(seen) == found.views
    return found.result()


def box_of(scene: AnalyticScene, name: str, view: str) -> Sequence[float]:
    index = scene.scene.view_index(view)
    x0, y0, x1, y1 = edges(scene.masks[name][index])
    return (x0, y0, x1 - 1, y1 - 1)


def test_words_alone_find_view_and_box(still_life: AnalyticScene) -> None:
    choice = search(still_life, Prompt("", "it", text="ball"))
    assert choice.prompt.box == box_of(still_life, "ball", choice.prompt.view)
    assert choice.prompt.text == "ball"
    assert choice.prompt.mask is None
    assert not needs_words(choice.prompt)
    assert len(choice.candidates) == 1  # five views, one object
    assert choice.candidates[0].agreement > 0.6
    assert choice.candidates[0].checked >= 2


def test_the_other_views_refute_a_look_alike(still_life: AnalyticScene) -> None:
    name = still_life.scene.views[0].name
    wrong = {name: [(edges(still_life.masks["crate"][0]), 0.7)]}
    choice = search(still_life, Prompt(name, "it", text="ball"), wrong=wrong)
    assert choice.prompt.view == name
    assert choice.prompt.box == box_of(still_life, "ball", name)
    right, look_alike = choice.candidates
    assert look_alike.score == pytest.approx(0.7)
    assert right.score == 0.5
    assert look_alike.agreement < 0.1 < 0.6 < right.agreement
    assert look_alike.total == pytest.approx(0.7 / (1 + look_alike.checked), abs=0.05)
    assert choice.to_json()["candidates"][0]["box"] == choice.prompt.box


def test_a_single_view_cannot_refute(still_life: AnalyticScene) -> None:
    name = still_life.scene.views[0].name
    wrong = {name: [(edges(still_life.masks["crate"][0]), 0.7)]}
    choice = search(still_life, Prompt(name, "it", text="ball"), views=1, wrong=wrong)
    assert choice.prompt.box == box_of(still_life, "crate", name)
    assert choice.candidates[0].agreement is None
    assert choice.candidates[0].total == pytest.approx(0.35)


def test_points_choose_among_the_detections(still_life: AnalyticScene) -> None:
    name = still_life.scene.views[0].name
    wrong = {name: [(edges(still_life.masks["crate"][0]), 0.7)]}
    y, x = np.argwhere(still_life.masks["crate"][0]).mean(axis=0).round()
    there = Prompt(name, "it", points=((x, y),), labels=(1,), text="ball")
    choice = search(still_life, there, wrong=wrong)
    assert choice.prompt.box == box_of(still_life, "crate", name)
    assert choice.prompt.points == ((x, y),)
    nowhere = Prompt(name, "it", points=((0, 0),), labels=(1,), text="ball")
    with pytest.raises(SA3DError, match="none of them fits the points"):
        search(still_life, nowhere)


def test_a_detector_with_masks_gives_the_mask(still_life: AnalyticScene) -> None:
    choice = search(still_life, Prompt("", "it", text="crate"), with_masks=True)
    index = still_life.scene.view_index(choice.prompt.view)
    np.testing.assert_array_equal(choice.prompt.mask, still_life.masks["crate"][index])


def test_nothing_found_names_the_nearest_scores(still_life: AnalyticScene) -> None:
    with pytest.raises(SA3DError, match=r"no 'teapot' in .*nearest scores: 0\.10 in .*0\.25 is"):
        search(still_life, Prompt("", "it", text="teapot"))


def test_found_elsewhere_only(still_life: AnalyticScene) -> None:
    name = still_life.scene.views[3].name
    with pytest.raises(SA3DError, match=f"in {name}, but in .*leave out 'view'"):
        search(still_life, Prompt(name, "it", text="ball"), missed=[name])


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt("", text=" .. "), "the text is empty"),
        (Prompt("nowhere.png", text="ball"), "no view is called"),
        (Prompt("", points=((1, 1),), labels=(1,), text="ball"), "no view: name the view"),
    ],
)
def test_invalid_words(still_life: AnalyticScene, prompt: Prompt, message: str) -> None:
    with pytest.raises(SA3DError, match=message):
        search(still_life, prompt)


def test_boxes_of_edges_become_pixels() -> None:
    assert pixel_box(np.array([0, 0, 80, 48]), 80, 48) == (0, 0, 79, 47)
    assert pixel_box(np.array([2.2, 3.8, 10.1, 9.9]), 80, 48) == (2, 4, 9, 9)
    assert pixel_box(np.array([79.6, 47.7, 80, 48]), 80, 48) == (78, 46, 79, 47)


def test_spread_views_stand_for_the_others(still_life: AnalyticScene) -> None:
    cameras = [view.camera for view in still_life.scene.views]
    assert spread_views(cameras, 3, [5])[0] == 5
    assert len(set(spread_views(cameras, 5))) == 5
    assert sorted(spread_views(cameras, 99)) == list(range(len(cameras)))
