"""The oracle finds the object of a prompt, and makes the configured errors."""

from __future__ import annotations

import numpy as np
import pytest

from sa3d.segmenters.graphcut.masks import logits_from_mask
from sa3d.testing.oracle_segmenter import OracleErrors, OracleSegmenter

IMAGE = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)


def masks() -> dict[str, np.ndarray]:
    left, right = np.zeros((60, 80), bool), np.zeros((60, 80), bool)
    left[10:40, 5:35], right[20:50, 45:75] = True, True
    return {"left": left, "right": right}


def oracle(errors: OracleErrors | None = None) -> OracleSegmenter:
    segmenter = OracleSegmenter({"a": IMAGE}, {"a": masks()}, errors)
    segmenter.set_image(IMAGE)
    return segmenter


@pytest.mark.parametrize(
    "prompt",
    [
        {"point_coords": np.array([[60, 30]]), "point_labels": np.array([1])},
        {"point_coords": np.array([[60, 30], [20, 20]]), "point_labels": np.array([1, 0])},
        {"box": np.array([44, 18, 76, 52])},
        {"mask_logits": logits_from_mask(np.roll(masks()["right"], 6, axis=1))},
    ],
)
def test_every_prompt_finds_its_object(prompt: dict) -> None:
    assert np.array_equal(oracle().predict(**prompt).masks[0], masks()["right"])


def test_a_click_beside_all_objects_finds_nothing() -> None:
    found = oracle().predict(np.array([[1, 1]]), np.array([1]))
    assert not found.masks.any()


def test_unknown_images_are_refused() -> None:
    with pytest.raises(KeyError, match="does not know"):
        oracle().set_image(255 - IMAGE)


@pytest.mark.parametrize(
    ("errors", "smaller", "larger"),
    [
        (OracleErrors(empty=1.0), True, False),
        (OracleErrors(wrong=1.0), True, True),
        (OracleErrors(missing=1.0), True, False),
        (OracleErrors(neighbour=1.0), False, True),
        (OracleErrors(leak=1.0), False, True),
        (OracleErrors(dilate=0.1), False, True),
        (OracleErrors(dilate=-0.1), True, False),
    ],
)
def test_errors(errors: OracleErrors, smaller: bool, larger: bool) -> None:
    box, truth = np.array([4, 9, 35, 40]), masks()["left"]
    found = oracle(errors).predict(box=box).masks[0]
    assert (truth & ~found).any() == smaller
    assert (found & ~truth).any() == larger
    assert np.array_equal(found, oracle(errors).predict(box=box).masks[0])


def errors_of(found: np.ndarray) -> np.ndarray:
    return found ^ masks()["left"]


def test_each_kind_of_error() -> None:
    box = np.array([4, 9, 35, 40])
    neighbour = masks()["right"]
    wrong = oracle(OracleErrors(wrong=1.0)).predict(box=box).masks[0]
    np.testing.assert_array_equal(wrong, neighbour)
    leaked = oracle(OracleErrors(neighbour=1.0)).predict(box=box).masks[0]
    np.testing.assert_array_equal(errors_of(leaked), neighbour)
    part = oracle(OracleErrors(missing=1.0)).predict(box=box).masks[0]
    assert errors_of(part).sum() == pytest.approx(0.4 * 900, rel=0.05)
    alone = OracleSegmenter(
        {"a": IMAGE}, {"a": {"left": masks()["left"]}}, OracleErrors(neighbour=1.0)
    )
    alone.set_image(IMAGE)
    np.testing.assert_array_equal(alone.predict(box=box).masks[0], masks()["left"])


def test_errors_occur_in_their_share_of_images() -> None:
    random = np.random.default_rng(1)
    images = {f"{i}": random.integers(0, 255, (60, 80, 3), np.uint8) for i in range(100)}
    grown = OracleErrors(dilate=0.1, dilated=0.3)
    for errors in (OracleErrors(wrong=0.3), OracleErrors(missing=0.3), grown):
        segmenter = OracleSegmenter(images, {name: masks() for name in images}, errors)
        wrong = 0
        for image in images.values():
            segmenter.set_image(image)
            found = segmenter.predict(box=np.array([4, 9, 35, 40])).masks[0]
            wrong += bool(errors_of(found).any())
        assert 18 <= wrong <= 42  # 30 of 100: 2.6 standard deviations


def test_only_honest_scores_know_of_errors() -> None:
    box = np.array([4, 9, 35, 40])
    sure = oracle(OracleErrors(missing=1.0)).predict(box=box).scores
    assert sure[0] == 1
    honest = oracle(OracleErrors(missing=1.0, honest=True)).predict(box=box).scores
    assert honest[0] == pytest.approx(0.6, abs=0.03)
