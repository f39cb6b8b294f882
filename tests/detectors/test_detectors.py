"""The detector classes with small random weights, loaded from a folder without a network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sa3d.base.errors import SA3DError
from sa3d.detectors.loading import choose_detector, load_detector
from sa3d.testing.random_detectors import FAMILIES, save_tiny_detector

WIDTH, HEIGHT = 80, 48


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("detectors")
    return {family: save_tiny_detector(family, folder / family) for family in FAMILIES}


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.mark.parametrize("family", FAMILIES)
def test_detections_lie_in_the_image_best_first(
    folders: dict[str, Path], image: np.ndarray, family: str
) -> None:
    detector = load_detector(str(folders[family]))
    assert detector.name == family
    found, again = detector.detect(image, "the  red mug"), detector.detect(image, "the red mug")
    assert len(found) > 0
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, 2:] <= [WIDTH, HEIGHT]).all()
    assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_array_equal(found.boxes, again.boxes)
    np.testing.assert_array_equal(found.scores, again.scores)
    if family == "sam3":
        assert found.masks is not None
        assert found.masks.shape == (len(found), HEIGHT, WIDTH)
        assert found.masks.dtype == bool


def known_output(family: str) -> SimpleNamespace:
    """Return an output with two boxes; OWLv2's are shares of the padded square."""
    scores = torch.logit(torch.tensor([0.2, 0.8]))
    if family == "sam3":
        masks = torch.full((1, 2, 4, 4), -9.0)
        masks[0, 1, :2] = 9.0
        boxes = torch.tensor([[[0.0, 0.0, 0.25, 0.5], [0.5, 0.25, 1.0, 0.75]]])
        return SimpleNamespace(
            pred_logits=scores[None], pred_boxes=boxes, pred_masks=masks, presence_logits=None
        )
    tall = HEIGHT / WIDTH if family == "owlv2" else 1.0
    boxes = torch.tensor([[[0.125, 0.25, 0.25, 0.5], [0.75, 0.5, 0.5, 0.5]]])
    boxes[..., [1, 3]] *= tall
    logits = torch.full((1, 2, 5), -20.0)
    logits[0, :, 2] = scores
    return SimpleNamespace(logits=logits, pred_boxes=boxes)


@pytest.mark.parametrize("family", FAMILIES)
def test_boxes_are_pixels_of_the_image(
    folders: dict[str, Path], image: np.ndarray, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = load_detector(str(folders[family]))
    monkeypatch.setattr(detector, "_model", lambda **_: known_output(family))
    found = detector.detect(image, "ball")
    np.testing.assert_allclose(found.boxes, [[40, 12, 80, 36], [0, 0, 20, 24]], atol=1e-3)
    np.testing.assert_allclose(found.scores, [0.8, 0.2], atol=1e-5)
    if found.masks is not None:
        assert found.masks[0, :20].all()
        assert not found.masks[0, 28:].any()
        assert not found.masks[1].any()


def test_no_words(folders: dict[str, Path], image: np.ndarray) -> None:
    with pytest.raises(SA3DError, match="the text is empty"):
        load_detector(str(folders["owlv2"])).detect(image, " ")


def test_long_words_are_cut(folders: dict[str, Path], image: np.ndarray) -> None:
    words = "a very long description of one thing " * 9
    for family in ("owlv2", "sam3"):
        assert len(load_detector(str(folders[family])).detect(image, words)) > 0


def test_weights_that_cannot_be_loaded(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(SA3DError, match="unknown detector 'yolo'; known: auto, grounding-dino-t"):
        load_detector("yolo")
    with pytest.raises(SA3DError, match=r"hf download nobody/nothing .* 'detector' to .*; or mark"):
        load_detector("nobody/nothing")
    assert choose_detector("cpu") == "grounding-dino-tiny"
    copy = Path(shutil.copytree(folders["owlv2"], tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(SA3DError, match="'bert' model, which is not a text detector"):
        load_detector(str(copy))
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "model.safetensors").write_bytes(b"half")
    with pytest.raises(SA3DError, match="half downloaded"):
        load_detector(str(copy))
    (copy / "model.safetensors").unlink()
    with pytest.raises(SA3DError, match=r"model\.safetensors missing"):
        load_detector(str(copy))
