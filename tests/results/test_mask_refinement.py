from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sa3d.evaluation.stages import boundary_f
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import Segmentation, ViewRecord
from sa3d.results.config import RefinementConfig
from sa3d.results.final_masks import final_masks
from sa3d.results.mask_refinement import guided_filter, refine_masks, refined_masks
from sa3d.testing.analytic_scene import AnalyticScene


def disc(x: float, y: float, radius: float, size: tuple[int, int] = (80, 100)) -> np.ndarray:
    rows, columns = np.indices(size)
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


def photo(mask: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 4, (*mask.shape, 3))
    colors = np.where(mask[..., None], (190, 120, 60), (60, 80, 120))
    return np.clip(colors + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shift", [-3, 2, 3])
def test_a_shifted_mask_returns_to_the_photos_edge(shift: int) -> None:
    exact = disc(50, 40, 20)
    shifted = np.roll(exact, shift, axis=1)
    refined = refine_masks(photo(exact), {"disc": shifted}, RefinementConfig())["disc"]
    assert boundary_f(shifted, exact, 1) < 0.7
    assert boundary_f(refined, exact, 1) == 1
    assert (refined ^ exact).sum() < 0.01 * exact.sum()


def test_edges_move_no_further_than_their_reach() -> None:
    exact, wrong = disc(50, 40, 28), disc(50, 40, 12)
    refined = refine_masks(photo(exact), {"disc": wrong}, RefinementConfig())["disc"]
    assert (refined & ~disc(50, 40, 12 + 8)).sum() == 0
    assert (wrong & ~refined & disc(50, 40, 12 - 8)).sum() == 0


def test_reach_grows_with_the_photo() -> None:
    assert RefinementConfig().radius_px(256, 320) == 3
    assert RefinementConfig().radius_px(3000, 4000) == 20


def test_large_surroundings_are_cut_at_a_smaller_size() -> None:
    exact = disc(700, 300, 280, (600, 1400))
    shifted = np.roll(exact, 5, axis=1)
    refined = refine_masks(photo(exact), {"disc": shifted}, RefinementConfig())["disc"]
    assert boundary_f(shifted, exact, 1) < 0.5
    assert boundary_f(refined, exact, 1) > 0.99


@given(arrays(bool, (9, 12)), arrays(bool, (9, 12)))
@settings(max_examples=25, deadline=None)
def test_masks_stay_exclusive(first: np.ndarray, second: np.ndarray) -> None:
    masks = {"first": first, "second": second & ~first}
    refined = refine_masks(photo(first), masks, RefinementConfig())
    assert not (refined["first"] & refined["second"]).any()
    assert {mask.dtype for mask in refined.values()} == {np.dtype(bool)}


@pytest.mark.parametrize("value", [False, True])
def test_an_empty_or_full_mask_stays(value: bool) -> None:
    mask = np.full((80, 100), value)
    refined = refine_masks(photo(disc(50, 40, 20)), {"it": mask}, RefinementConfig())["it"]
    np.testing.assert_array_equal(refined, mask)


def test_no_refinement_gives_the_final_masks(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    found = refined_masks(still_life.scene, voted, 3, None)
    for name, (mask, _) in final_masks(still_life.scene, voted, 3).items():
        np.testing.assert_array_equal(found[name], mask)


def test_a_mask_that_the_user_drew_is_kept(still_life: AnalyticScene, voted: Segmentation) -> None:
    scene, ball = still_life.scene, voted.object("ball")
    drawn = np.roll(still_life.masks["ball"][4], 2, axis=1)
    prompt = Prompt(scene.views[4].name, "ball", mask=drawn)
    records = {4: ViewRecord("prompted", 0.9, 0.9, 1.0, drawn)}
    changed = replace(ball, prompts=[prompt], views=ball.views | records)
    segmentation = replace(voted, objects={"ball": changed})
    refined = refined_masks(scene, segmentation, 4, RefinementConfig())["ball"]
    np.testing.assert_array_equal(refined, drawn)


@pytest.mark.parametrize(("x", "label"), [(29, 1), (68, 0)])
def test_only_an_edge_that_moved_across_a_point_moves_back(x: int, label: int) -> None:
    shifted = np.roll(disc(50, 40, 20), -3, axis=1)
    masks, image = {"disc": shifted, "rest": ~shifted}, photo(disc(50, 40, 20))
    clicked = Prompt("a.png", "disc", points=((x, 40),), labels=(label,))
    plain = refine_masks(image, masks, RefinementConfig())
    refined = refine_masks(image, masks, RefinementConfig(), {"disc": [clicked]})
    assert (plain["disc"][40, x], refined["disc"][40, x]) == (1 - label, label)
    here = np.indices(shifted.shape)[1] // 50 == x // 50  # the disc's left half, or its right one
    for name in masks:
        np.testing.assert_array_equal(refined[name], np.where(here, masks[name], plain[name]))


def test_a_point_that_contradicts_the_mask_changes_nothing() -> None:
    exact = disc(50, 40, 20)
    masks = {"disc": np.roll(exact, -3, axis=1)}
    beside = Prompt("a.png", "disc", points=((29, 40), (50, 40)), labels=(0, 0))
    plain = refine_masks(photo(exact), masks, RefinementConfig())["disc"]
    refined = refine_masks(photo(exact), masks, RefinementConfig(), {"disc": [beside]})["disc"]
    np.testing.assert_array_equal(refined, plain)


def test_only_clicks_in_the_same_photo_count(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    scene, ball = still_life.scene, voted.object("ball")
    wider = np.logical_or.reduce([np.roll(still_life.masks["ball"][4], s, axis=1) for s in (-2, 2)])
    ball = replace(ball, views=ball.views | {4: ViewRecord("prompted", 1.0, 0.9, 1.0, wider)})

    def masks(view: str, label: int) -> tuple[np.ndarray, np.ndarray]:
        click = Prompt(view, "ball", points=((x, y),), labels=(label,))
        changed = replace(voted, objects={"ball": replace(ball, prompts=[click])})
        final = final_masks(scene, changed, 4)["ball"][0]
        return final, refined_masks(scene, changed, 4, RefinementConfig())["ball"]

    x, y = 0, 0
    final, refined = masks(scene.views[4].name, 0)
    y, x = np.argwhere(final != refined)[0].tolist()
    for view, obeyed in ((scene.views[4].name, True), (scene.views[5].name, False)):
        assert (masks(view, int(final[y, x]))[1][y, x] == final[y, x]) == obeyed


@given(st.floats(-0.5, 0.5), st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_the_filter_keeps_what_is_linear_in_the_colors(slope: float, offset: float) -> None:
    guide = np.random.default_rng(1).random((14, 17, 3)).astype(np.float32)
    values = (offset + slope * guide[..., 1]).astype(np.float32)
    filtered = guided_filter(guide, values, radius_px=3, contrast=1e-3)
    np.testing.assert_allclose(filtered, values, atol=1e-3)


def test_the_filter_is_a_mean_where_there_are_no_edges() -> None:
    grey = np.full((15, 15, 3), 0.5, dtype=np.float32)
    spike = np.zeros((15, 15), dtype=np.float32)
    spike[7, 7] = 1
    filtered = guided_filter(grey, spike, radius_px=1, contrast=0.1)
    assert filtered[7, 7] == pytest.approx(9 / 81, abs=1e-4)  # a mean of means over 3x3
    assert filtered[7, 9] == pytest.approx(3 / 81, abs=1e-4)
    assert filtered[7, 10] == pytest.approx(0, abs=1e-4)
