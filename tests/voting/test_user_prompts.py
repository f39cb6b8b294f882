from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sa3d.base.errors import SA3DError
from sa3d.objects.prompts import Prompt
from sa3d.scene.views import View
from sa3d.segmenters.protocol import MaskPrediction
from sa3d.testing.analytic_scene import AnalyticScene
from sa3d.voting.user_prompts import corrected_parts, segment_user_prompts

BEFORE = np.zeros((72, 96), dtype=bool)
BEFORE[20:30, 20:60] = True  # 400 pixels


class Recorder:
    """Segmenter that returns a mask of ``area`` pixels, and records its prompts."""

    name = "recorder"

    def __init__(self, area: int) -> None:
        self.area = area
        self.asked: list[tuple[np.ndarray | None, np.ndarray | None]] = []

    def predict(self, coords, labels, box=None, mask_logits=None, *, multimask_output=False):  # type: ignore[no-untyped-def]
        self.asked.append((box, mask_logits))
        mask = np.zeros(72 * 96, dtype=bool)
        mask[: self.area] = True
        logits = np.zeros((1, 256, 256), np.float32)
        return MaskPrediction(mask.reshape(1, 72, 96), np.array([0.9]), logits)


def large_view(still_life: AnalyticScene) -> View:
    view = still_life.scene.views[0]
    return replace(view, camera=replace(view.camera, width=96, height=72))


def ask(
    still_life: AnalyticScene, area: int, x: float, y: float, label: int, *, cautious: bool = False
) -> Recorder:
    view = large_view(still_life)
    segmenter = Recorder(area)
    click = Prompt(view.name, "ball", points=((x, y),), labels=(label,))
    before = BEFORE.astype(np.float32)
    segment_user_prompts(segmenter, view, [click], before, cautious=cautious)  # type: ignore[arg-type]
    return segmenter


def test_a_click_near_the_mask_refines_the_mask(still_life: AnalyticScene) -> None:
    for y, label in ((31.0, 1), (25.0, 0)):  # 2 pixels beside it; in the middle of it
        [(box, logits)] = ask(still_life, 450, 40.0, y, label).asked
        assert box is None
        assert logits is not None
        assert logits[256 * 25 // 72, 256 * 40 // 96] > 0
        assert logits[0, 0] < 0


def test_a_click_far_from_the_mask_gets_a_box_with_room(still_life: AnalyticScene) -> None:
    [(box, logits)] = ask(still_life, 800, 40.0, 49.0, 1).asked  # 20 pixels below the mask
    assert logits is None
    assert box is not None
    np.testing.assert_allclose(box, [14, 20, 66, 71])  # 26 around the click, the image's edge below


def painted(x0: int, x1: int) -> np.ndarray:
    mask = np.zeros((72, 96), dtype=bool)
    mask[20:30, x0:x1] = True
    return mask


def test_a_painted_mask_is_what_the_user_says(still_life: AnalyticScene) -> None:
    view = large_view(still_life)
    left, right = (Prompt(view.name, mask=painted(*x)) for x in ((10, 20), (40, 50)))
    together, score = segment_user_prompts(Recorder(9), view, [left, right])  # type: ignore[arg-type]
    np.testing.assert_array_equal(together, painted(10, 20) | painted(40, 50))
    assert score == 1
    seen = BEFORE.astype(np.float32)
    corrected, _ = segment_user_prompts(Recorder(9), view, [left, right], seen)  # type: ignore[arg-type]
    np.testing.assert_array_equal(corrected, painted(40, 50))


def test_a_click_after_a_painted_mask_corrects_it(still_life: AnalyticScene) -> None:
    view = large_view(still_life)
    drawn = Prompt(view.name, mask=painted(20, 60))
    click = Prompt(view.name, points=((40.0, 25.0),), labels=(0,))
    for before in (None, painted(20, 60).astype(np.float32)):
        segmenter = Recorder(300)
        mask, _ = segment_user_prompts(segmenter, view, [drawn, click], before)  # type: ignore[arg-type]
        [(box, logits)] = segmenter.asked
        assert box is None
        assert logits is not None
        assert logits[256 * 25 // 72, 256 * 40 // 96] > 0
        assert mask.sum() == 300


@pytest.mark.parametrize(
    ("area", "y", "cautious", "asked"),
    [
        (200, 49.0, False, 2),  # half of what was seen
        (2500, 49.0, False, 1),  # 6 times as large
        (2500, 49.0, True, 2),
        (1500, 49.0, True, 1),  # not quite 4 times
        (72 * 96, 41.0, False, 2),  # 12 pixels away, and more than 8 discs of that radius
    ],
)
def test_an_answer_of_another_size_is_not_believed(
    still_life: AnalyticScene, area: int, y: float, cautious: bool, asked: int
) -> None:
    prompts = ask(still_life, area, 40.0, y, 1, cautious=cautious).asked
    assert len(prompts) == asked
    assert (prompts[-1][0] is None) == (asked == 2)


def test_background_points_alone_are_refused_where_nothing_is_corrected(
    still_life: AnalyticScene,
) -> None:
    view = still_life.scene.views[0]
    click = Prompt(view.name, "ball", points=((3, 3),), labels=(0,))
    for before in (None, np.zeros((72, 96), np.float32)):
        with pytest.raises(SA3DError, match="background points only"):
            segment_user_prompts(Recorder(9), view, [click], before)  # type: ignore[arg-type]


def test_clicks_speak_for_the_part_they_lie_in() -> None:
    mask = BEFORE.copy()
    mask[30:40, 20:60] = True  # the part that was clicked
    mask[60:65, 80:90] = True  # and something else that the segmenter added
    click = Prompt("a.png", points=((40, 35),), labels=(1,))
    parts = corrected_parts(BEFORE, mask, [click])
    assert parts[30:40, 20:60].all()
    assert parts.sum() == 400
    box = Prompt("a.png", box=(1, 1, 90, 70))
    np.testing.assert_array_equal(corrected_parts(BEFORE, mask, [click, box]), mask != BEFORE)
