"""Tests of the simulated user, who clicks where a mask is most wrong."""

from __future__ import annotations

import numpy as np
import pytest

from sa3d.evaluation.simulated_user import box_of, next_click, prompt_until_right
from sa3d.objects.prompts import Prompt
from sa3d.segmenters.graphcut.segmenter import GraphCutSegmenter


def square(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_clicks_the_middle_of_what_is_missing() -> None:
    exact = square(5, 30, 10, 41)
    assert next_click(exact & ~square(12, 19, 20, 27), exact) == ((23.0, 15.0), 1)


def test_clicks_away_what_is_too_much() -> None:
    exact = square(5, 30, 10, 41)
    assert next_click(exact | square(31, 36, 50, 55), exact) == ((52.0, 33.0), 0)


def test_prefers_the_deeper_error_and_ignores_what_does_not_count() -> None:
    exact = square(5, 30, 10, 41)
    mask = (exact & ~square(12, 15, 20, 23)) | square(30, 39, 44, 59)
    click = next_click(mask, exact)
    assert click is not None
    assert click[1] == 0
    assert next_click(mask, exact, ~square(30, 39, 44, 59)) == ((21.0, 13.0), 1)


def test_nothing_to_click_when_right() -> None:
    assert next_click(square(5, 9, 5, 9), square(5, 9, 5, 9)) is None


def test_box_of_a_mask() -> None:
    assert box_of(square(5, 30, 10, 41)) == (10, 5, 40, 29)


@pytest.mark.parametrize("clicks", [0, 3])
def test_clicks_make_the_mask_right(clicks: int) -> None:
    image = np.full((40, 60, 3), 120, np.uint8)
    exact = square(8, 32, 14, 46)
    image[exact] = (200, 60, 50)
    image[square(8, 32, 14, 26)] = (50, 60, 200)  # half of it looks like something else
    image += np.random.default_rng(0).integers(0, 8, image.shape).astype(np.uint8)
    segmenter = GraphCutSegmenter()
    segmenter.set_image(image)
    start = Prompt("a.png", points=((36.0, 20.0),), labels=(1,))
    prompt = prompt_until_right(segmenter, exact, start, clicks=clicks, enough=0.9)
    if clicks == 0:
        assert prompt == start
        return
    assert 1 < len(prompt.points) <= 1 + clicks
    found = segmenter.predict(np.array(prompt.points), np.array(prompt.labels))
    mask = found.masks[int(found.scores.argmax())]
    assert (mask & exact).sum() / (mask | exact).sum() > 0.9
