"""Quality of the embedded segmenter on drawn images, and on photos if they are available."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import Picture, blob, blurred_logits, hammer, iou, mask_of, rod, textured

from sa3d.segmenters.graphcut.masks import logits_from_mask, predicted_iou
from sa3d.segmenters.graphcut.segmenter import GraphCutSegmenter

SHARED = Path(__file__).parents[3] / "shared" / "data"


def on(picture: Picture) -> GraphCutSegmenter:
    segmenter = GraphCutSegmenter()
    segmenter.set_image(picture.image)
    return segmenter


@pytest.mark.parametrize(("make", "floor"), [(blob, 0.95), (hammer, 0.85)])
def test_box(make, floor: float) -> None:
    picture = make()
    assert iou(on(picture).predict(box=picture.box).masks[0], picture.truth) > floor


def test_points_alone() -> None:
    picture = blob()
    clicks, labels = np.array([(60, 52), (100, 70), (20, 20)]), np.array([1, 1, 0])
    found = on(picture).predict(clicks, labels, multimask_output=True)
    assert max(iou(mask, picture.truth) for mask in found.masks) > 0.9


def test_a_missing_part_is_restored() -> None:
    picture = blob()
    logits = blurred_logits(picture.truth, 2.0, missing=(115, 70, 12))
    before = iou(mask_of(logits, picture.truth.shape), picture.truth)
    after = iou(on(picture).predict(mask_logits=logits).masks[0], picture.truth)
    assert before < 0.92
    assert after > 0.96


def test_an_eroded_rod_is_restored() -> None:
    picture = hammer()
    thinner = cv2.erode(picture.truth.astype(np.uint8), np.ones((3, 3), np.uint8))
    logits = blurred_logits(thinner, 1.2)
    part = rod(picture)
    eroded = mask_of(logits, part.shape)
    found = on(picture).predict(mask_logits=logits).masks[0]
    assert (eroded & part).sum() < 0.8 * part.sum()
    assert (found & part).sum() > 0.8 * part.sum()


@pytest.mark.parametrize("make", [blob, hammer])
def test_refining_the_truth_again_and_again_keeps_it(make) -> None:
    picture, segmenter = make(), on(make())
    logits = logits_from_mask(picture.truth)
    for _ in range(5):
        logits = segmenter.predict(mask_logits=logits).logits[0]
    mask = mask_of(logits, picture.truth.shape)
    assert iou(mask, picture.truth) > 0.95
    assert (mask & rod(picture)).sum() > 0.95 * rod(picture).sum()


def test_candidates_of_a_mask_are_nested() -> None:
    picture = blob()
    logits = blurred_logits(picture.truth, 3.0, missing=(115, 70, 12))
    tight, normal, loose = on(picture).predict(mask_logits=logits, multimask_output=True).masks
    assert not (tight & ~normal).any()
    assert not (normal & ~loose).any()
    assert tight.sum() < loose.sum()


def clicks_of(picture: Picture, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points on the object's pixels, evenly over their list."""
    inside = np.argwhere(picture.truth)[:, ::-1]
    points = inside[np.linspace(0, len(inside) - 1, count + 2).astype(int)[1:-1]]
    return points, np.ones(count, int)


@pytest.mark.parametrize("make", [blob, hammer])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_candidates_are_nested_and_scored_in_range(make, count: int) -> None:
    """For boxes and for points; masks are tested separately."""
    picture = make()
    prompt = clicks_of(picture, count=count) if count else (None, None, picture.box)
    found = on(picture).predict(*prompt, multimask_output=True)
    small, middle, large = found.masks
    assert small.any()
    assert not (small & ~middle).any()
    assert not (middle & ~large).any()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()


@pytest.mark.parametrize("make", [blob, hammer])
def test_one_mask_is_the_best_scored_of_three(make) -> None:
    picture = make()
    three = on(picture).predict(box=picture.box, multimask_output=True)
    one = on(picture).predict(box=picture.box)
    assert one.scores[0] == three.scores.max()
    assert (one.masks[0] == three.masks[three.scores.argmax()]).all()


def test_a_box_without_surroundings_still_gives_a_mask() -> None:
    picture = blob()
    found = on(picture).predict(box=np.array([0, 0, 159, 119]))
    assert iou(found.masks[0], picture.truth) > 0.6


def test_background_in_the_box_is_recognised_by_its_color() -> None:
    """Most of the box of a thin ring, and its middle, has the color that surrounds the box."""
    canvas = np.zeros((120, 160), np.uint8)
    cv2.circle(canvas, (80, 60), 38, (1,), 7)
    picture = textured(canvas.astype(bool), (150, 90, 50), (110, 125, 140))
    found = on(picture).predict(box=picture.box).masks[0]
    assert not found[60, 80]
    assert iou(found, picture.truth) > 0.85


@pytest.mark.parametrize(("has_mask", "has_box"), [(True, False), (False, True), (False, False)])
def test_predicted_iou_keeps_the_order(has_mask: bool, has_box: bool) -> None:
    qualities = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]
    found = [predicted_iou(q, 2, has_mask=has_mask, has_box=has_box) for q in qualities]
    assert found[0] == 0
    assert all(a < b for a, b in itertools.pairwise(found))
    assert found[-1] <= 1


def test_more_points_raise_the_predicted_iou() -> None:
    one, two, three = (predicted_iou(0.8, n, has_mask=False, has_box=False) for n in (1, 2, 3))
    assert one == pytest.approx(1.4 * 0.8 - 0.7)
    assert one < two < three


def test_a_negative_click_corrects_a_leak() -> None:
    canvas = np.zeros((120, 160), np.uint8)
    cv2.circle(canvas, (50, 60), 25, (1,), -1)
    twin = canvas.copy()
    cv2.circle(twin, (90, 60), 10, (1,), -1)
    both = textured(twin.astype(bool), (170, 60, 50), (110, 125, 140))
    truth = canvas.astype(bool)
    leaked = logits_from_mask(twin.astype(bool))
    click, label = np.array([(90, 60)]), np.array([0])
    found = on(both).predict(click, label, mask_logits=leaked).masks[0]
    assert not found[60, 90]
    assert iou(found, truth) > iou(twin.astype(bool), truth) + 0.08


def test_appearance_of_another_view_helps() -> None:
    """The missing strip has a color that the rest of the mask does not have."""
    canvas = np.zeros((120, 160), np.uint8)
    cv2.rectangle(canvas, (50, 40), (110, 80), (1,), -1)
    truth = canvas.astype(bool)
    image = textured(truth, (170, 60, 50), (110, 125, 140)).image
    green = textured(truth, (60, 150, 70), (110, 125, 140), seed=2).image
    image[:, 103:] = green[:, 103:]
    picture = Picture(image, truth)
    prompt = truth.copy()
    prompt[:, 105:] = False
    segmenter = on(picture)
    segmenter.set_appearance(None)
    alone = iou(segmenter.predict(mask_logits=blurred_logits(prompt, 2.0)).masks[0], truth)
    samples = segmenter.sample_appearance(truth)
    segmenter.set_appearance(np.stack([samples, samples]))
    learnt = iou(segmenter.predict(mask_logits=blurred_logits(prompt, 2.0)).masks[0], truth)
    assert learnt > alone + 0.03


def test_appearance_samples_have_shape_and_type() -> None:
    picture = blob()
    inside, outside = on(picture).sample_appearance(picture.truth).astype(int)
    assert np.abs(inside.mean(0) - (150, 90, 50)).max() < 12
    assert np.abs(outside.mean(0) - (110, 125, 140)).max() < 12


@pytest.mark.parametrize("wrong", [np.zeros((2, 8, 3), np.uint8), np.zeros((1, 2, 8, 3))])
def test_wrong_appearance_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="samples must be"):
        on(blob()).set_appearance(wrong)


def test_an_empty_mask_gives_no_appearance() -> None:
    with pytest.raises(ValueError, match="not empty"):
        on(blob()).sample_appearance(np.zeros((120, 160), bool))


def test_an_empty_mask_prompt_finds_nothing() -> None:
    found = on(blob()).predict(mask_logits=np.full((256, 256), -5.0), multimask_output=True)
    assert not found.masks.any()
    assert not found.scores.any()


def test_score_prefers_the_truth() -> None:
    picture = blob()
    shifted = np.roll(picture.truth, 25, axis=1)
    good = on(picture).predict(mask_logits=logits_from_mask(picture.truth))
    flat = Picture(np.full_like(picture.image, 128), shifted)
    bad = on(flat).predict(mask_logits=logits_from_mask(shifted))
    assert good.scores[0] > bad.scores[0] + 0.2


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    corners=st.tuples(*[st.integers(0, 45)] * 4),
    clicks=st.lists(st.tuples(st.integers(-3, 45), st.integers(-3, 45)), max_size=3),
)
def test_unusual_prompts_give_valid_masks(
    height: int, width: int, corners: tuple, clicks: list
) -> None:
    image = np.random.default_rng(height * width).integers(0, 255, (height, width, 3), np.uint8)
    segmenter = GraphCutSegmenter()
    segmenter.set_image(image)
    x0, x1 = sorted(corners[:2])
    y0, y1 = sorted(corners[2:])
    points = np.array(clicks, float).reshape(-1, 2)
    labels = np.arange(len(points)) % 2
    found = segmenter.predict(points, labels, np.array([x0, y0, x1, y1]), multimask_output=True)
    again = segmenter.predict(points, labels, mask_logits=found.logits[1])
    assert found.masks.shape == (3, height, width)
    assert again.masks.shape == (1, height, width)


def real_pictures(folder: str, pattern: str) -> list[Picture]:
    paths = sorted((SHARED / folder / "masks_gt").glob(pattern))
    if not paths:
        pytest.skip(f"no {folder} under {SHARED}")
    pictures = []
    for path in paths:
        image = next((SHARED / folder / "images").glob(f"{path.stem}.*"))
        bgr = cv2.imread(str(image), cv2.IMREAD_COLOR)
        truth = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) == 255
        pictures.append(Picture(np.ascontiguousarray(bgr[..., ::-1]), truth))
    return pictures


@pytest.mark.parametrize("tool", ["pliers", "screwdriver"])
def test_real_thin_tools_keep_their_shape(tool: str) -> None:
    for picture in real_pictures("canclip", f"{tool}/img0[01]*.png"):
        segmenter = on(picture)
        refined = segmenter.predict(mask_logits=blurred_logits(picture.truth, 2.0))
        again = segmenter.predict(mask_logits=refined.logits[0])
        assert iou(refined.masks[0], picture.truth) > 0.88
        assert iou(again.masks[0], picture.truth) > 0.86


def test_real_boxes() -> None:
    pictures = real_pictures("grabcut50", "1*.png")[:4]  # two easy, two hard ones
    found = [iou(on(p).predict(box=p.box).masks[0], p.truth) for p in pictures]
    assert np.mean(found) > 0.65
