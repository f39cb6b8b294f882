"""SAM and its relatives: inputs for a prompt, names, encodings and too little memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sa3d.base.errors import SA3DError
from sa3d.segmenters.sam.family import SamFamilySegmenter, default_dtype
from sa3d.segmenters.sam.loading import load_sam
from sa3d.testing.random_sam import FAMILIES

Weights = Callable[[str], Path]

LAST_PIXEL = {
    # (height, width): where the last pixel lies in the 128 px square: padded, and stretched.
    (72, 96): ((126.8333, 94.8333), (126.8333, 126.6111)),
    (64, 36): ((70.5, 126.5), (125.7222, 126.5)),
}
LAST_PIXEL_OF_112 = {(72, 96): (110.9167, 110.7222), (64, 36): (109.9444, 110.625)}
"""The same in SAM 3's stretched square of 112 px."""


def prompts_given(segmenter: SamFamilySegmenter, **prompt: Any) -> dict[str, torch.Tensor]:
    """Record the arguments of the model's prompt encoder."""
    given: dict[str, torch.Tensor] = {}
    hook = segmenter._model.prompt_encoder.register_forward_pre_hook(
        lambda _, args, kwargs: given.update(kwargs), with_kwargs=True
    )
    segmenter.predict(**prompt)
    hook.remove()
    return given


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", LAST_PIXEL)
def test_corner_pixels_reach_the_model(
    family: str, size: tuple[int, int], tiny_weights: Weights
) -> None:
    height, width = size
    padded, stretched = LAST_PIXEL[size]
    expected = padded if family in ("sam", "sam_hq") else stretched
    if family == "sam3_tracker":
        expected = LAST_PIXEL_OF_112[size]
    segmenter = load_sam(str(tiny_weights(family)), dtype=torch.bfloat16)
    segmenter.set_image(np.zeros((height, width, 3), np.uint8))
    last = (width - 1, height - 1)
    given = prompts_given(
        segmenter,
        point_coords=np.array([last, (0, 0)]),
        point_labels=np.array([0, 1]),
        box=np.array([0, 0, *last]),
    )
    points = given["input_points"].reshape(2, 2)
    assert given["input_labels"].flatten().tolist() == [1, 0]
    np.testing.assert_allclose(points[1], expected, atol=1e-3)
    np.testing.assert_allclose(given["input_boxes"].flatten()[2:], expected, atol=1e-3)
    first = (np.array(expected) + 0.5) / (2 * np.array(last) + 1) - 0.5
    np.testing.assert_allclose(points[0], first, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_mask_prompt_is_placed_on_the_object(family: str, tiny_weights: Weights) -> None:
    """A wide image is padded below, so the lower half of its mask prompt is padding."""
    segmenter = load_sam(str(tiny_weights(family)))
    segmenter.set_image(np.zeros((50, 100, 3), np.uint8))
    logits = np.full((256, 256), -4.0, np.float32)
    logits[128:, 128:] = 4.0
    given = prompts_given(segmenter, mask_logits=logits)["input_masks"]
    assert given.shape == (1, 1, 32, 32)
    positive = torch.nonzero(given[0, 0] > 0)
    pads = family in ("sam", "sam_hq")
    assert positive.min(0).values.tolist() == [8 if pads else 16, 16]
    assert positive.max(0).values.tolist() == [15 if pads else 31, 31]


def test_name_holds_weights_and_number_type(tiny_sam: Path, tiny_sam2: Path) -> None:
    names = [
        load_sam(str(tiny_sam)).name,
        load_sam(str(tiny_sam2)).name,
        load_sam(str(tiny_sam2), dtype=torch.bfloat16).name,
    ]
    assert len(set(names)) == 3
    assert names[0].startswith(tiny_sam.name)
    assert names[2] == names[1].replace("float32", "bfloat16")


def test_name_changes_with_the_weights(tiny_sam2: Path, tmp_path: Path) -> None:
    segmenter = load_sam(str(tiny_sam2))
    folder = tmp_path / tiny_sam2.name
    with torch.no_grad():
        next(segmenter._model.parameters()).add_(1)
    segmenter._model.save_pretrained(folder)
    segmenter._processor.save_pretrained(folder)
    assert load_sam(str(folder)).name != segmenter.name


def test_only_the_encoder_has_half_precision(tiny_sam2: Path) -> None:
    model = load_sam(str(tiny_sam2), dtype=torch.bfloat16)._model
    assert {p.dtype for p in model.vision_encoder.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in model.prompt_encoder.parameters()} == {torch.float32}


def test_encodings_are_stored_compactly(tiny_weights: Weights) -> None:
    segmenter = load_sam(str(tiny_weights("sam_hq")))
    segmenter.set_image(np.zeros((50, 100, 3), np.uint8))
    maps = [value for name, value in segmenter.save_state().items() if name != "geometry"]
    assert [one.dtype for one in maps] == [np.float16, np.float16]
    assert sum(one.size for one in maps) == 2 * 32 * 8 * 8


def test_number_type_by_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_dtype(torch.device("cpu")) == torch.float32
    for capability, dtype in (((7, 5), torch.float16), ((9, 0), torch.bfloat16)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        assert default_dtype(torch.device("cuda")) == dtype


OUT_OF_MEMORY = [
    MemoryError(),
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_too_little_memory_to_encode(
    error: Exception, tiny_sam: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    segmenter = load_sam(str(tiny_sam))
    monkeypatch.setattr(segmenter._model, "get_image_embeddings", fail)
    with pytest.raises(SA3DError, match=r"too little memory to encode .*segmenter='sam2.1-tiny'"):
        segmenter.set_image(np.zeros((50, 100, 3), np.uint8))


def test_other_errors_are_passed_on(tiny_sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    segmenter = load_sam(str(tiny_sam))
    monkeypatch.setattr(segmenter._model, "get_image_embeddings", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        segmenter.set_image(np.zeros((50, 100, 3), np.uint8))


def test_a_batch_that_does_not_fit_is_encoded_one_by_one(
    tiny_sam: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = load_sam(str(tiny_sam))
    segmenter.batch_size = 3
    encode, batches = segmenter._model.get_image_embeddings, []

    def only_one(pixels: torch.Tensor) -> torch.Tensor:
        batches.append(len(pixels))
        if len(pixels) > 1:
            raise OUT_OF_MEMORY[1]
        return encode(pixels)

    monkeypatch.setattr(segmenter._model, "get_image_embeddings", only_one)
    states = segmenter.encode_images([np.full((50, 100, 3), i, np.uint8) for i in range(3)])
    assert len(states) == 3
    assert batches == [3, 1, 1, 1]
    assert segmenter.batch_size == 1
