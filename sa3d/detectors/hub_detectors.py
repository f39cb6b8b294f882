"""Text detectors that run through transformers: Grounding DINO, OWLv2 and SAM 3."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.detectors.protocol import Detections, checked_words
from sa3d.detectors.registry import REGISTRY
from sa3d.hub.download import download, quiet_loading
from sa3d.hub.files import CONFIG, cached_folder, missing_files
from sa3d.hub.memory import enough_memory
from sa3d.segmenters.prompt_check import checked_image

MOST = 20
"""Detections kept of an image."""

SAME_BOX = 0.7
"""Boxes whose IoU is above this are one thing detected twice."""

SMALLER = "take a smaller detector (--detector grounding-dino-tiny)"

_OTHERWISE = "or mark the object with --points or --box instead of words"

_ARTICLES = ("the ", "a ", "an ")
_MODEL_INPUTS = ("pixel_values", "input_ids", "attention_mask")


class HubDetector:
    """A text detector with loaded weights; subclasses say how their model is asked.

    Args:
        model: of ``model_class``, float32.
        processor: of ``processor_class``.
        label: what to call these weights: a short name, a hub id or a folder's name.
        device: torch device.

    Raises:
        SA3DError: the device has too little memory, here or when detecting.
    """

    model_class: ClassVar[str]
    """Name of the model's class in transformers."""
    processor_class: ClassVar[str]
    """Name of the processor's class in transformers."""
    threshold: float
    """Score from which a detection counts, as the model's authors have it."""

    def __init__(self, model: Any, processor: Any, label: str, device: str = "cpu") -> None:
        self.name = label
        self._device = torch.device(device)
        self._processor = processor
        with enough_memory(f"to load {label}", SMALLER):
            self._model = model.to(self._device).eval().requires_grad_(False)

    def detect(self, image: np.ndarray, text: str) -> Detections:
        """Look for words in an image; see ``TextDetector``."""
        from PIL import Image

        words, image = checked_words(text), checked_image(image)
        with enough_memory(f"for {self.name}", SMALLER), torch.inference_mode():
            inputs = self._processor(
                images=Image.fromarray(image), return_tensors="pt", **self._query(words)
            )
            outputs = self._model(**self._model_inputs(inputs))
            return self._detections(outputs, inputs, (image.shape[0], image.shape[1]))

    def _query(self, words: str) -> dict[str, Any]:
        """The words as the processor wants them."""
        raise NotImplementedError

    def _model_inputs(self, inputs: Any) -> dict[str, Any]:
        """What the model takes of the processor's output, on the device."""
        return dict(inputs.to(self._device))

    def _detections(self, outputs: Any, inputs: Any, size: tuple[int, int]) -> Detections:
        """The model's output as detections in an image of (H, W)."""
        raise NotImplementedError


class GroundingDinoDetector(HubDetector):
    """Grounding DINO; a box's score is that of the best fitting word."""

    model_class = "GroundingDinoForObjectDetection"
    processor_class = "GroundingDinoProcessor"
    threshold = 0.25

    def _query(self, words: str) -> dict[str, Any]:
        """One phrase: lower case, with a full stop at its end and none within."""
        return {"text": words.lower().replace(".", " ").strip() + "."}

    def _detections(self, outputs: Any, inputs: Any, size: tuple[int, int]) -> Detections:
        [found] = self._processor.post_process_grounded_object_detection(
            boxes_and_logits(outputs), inputs["input_ids"].cpu(), threshold=0.0, target_sizes=[size]
        )
        return distinct(found["boxes"], found["scores"], size)


class Owlv2Detector(HubDetector):
    """OWLv2; reads at most 16 tokens."""

    model_class = "Owlv2ForObjectDetection"
    processor_class = "Owlv2Processor"
    threshold = 0.1

    def _query(self, words: str) -> dict[str, Any]:
        """The words in the caption that OWLv2 was trained with."""
        name = words.lower()
        for article in _ARTICLES:
            name = name.removeprefix(article)
        return {"text": [[f"a photo of a {name}"]], "truncation": True, "max_length": 16}

    def _detections(self, outputs: Any, inputs: Any, size: tuple[int, int]) -> Detections:
        [found] = self._processor.post_process_grounded_object_detection(
            boxes_and_logits(outputs), threshold=0.0, target_sizes=[size]
        )
        return distinct(found["boxes"], found["scores"], size)


class Sam3TextDetector(HubDetector):
    """SAM 3 asked in words; the masks are its own. Reads at most 32 tokens."""

    model_class = "Sam3Model"
    processor_class = "Sam3Processor"
    threshold = 0.3

    def _query(self, words: str) -> dict[str, Any]:
        return {"text": words}

    def _model_inputs(self, inputs: Any) -> dict[str, Any]:
        return {
            name: inputs[name][:, :32].to(self._device)
            if name != "pixel_values"
            else inputs[name].to(self._device)
            for name in _MODEL_INPUTS
        }

    def _detections(self, outputs: Any, inputs: Any, size: tuple[int, int]) -> Detections:
        [found] = self._processor.post_process_instance_segmentation(
            _best(outputs), threshold=-1.0, target_sizes=[size]
        )
        boxes, scores = found["boxes"].float(), found["scores"].float()
        return distinct(boxes, scores, size, found["masks"].bool())


DETECTOR_OF_TYPE: dict[str, type[HubDetector]] = {
    "grounding-dino": GroundingDinoDetector,
    "owlv2": Owlv2Detector,
    "sam3": Sam3TextDetector,
    "sam3_video": Sam3TextDetector,
}
"""By ``model_type`` in config.json; SAM 3's video model holds the detector."""


def load_hub_detector(weights: str, device: str = "cpu") -> HubDetector:
    """A text detector with its weights.

    Args:
        weights: a folder with config.json, model.safetensors and the processor's and tokenizer's
            files, or a hub id.
        device: torch device.

    Raises:
        SA3DError: the weights cannot be had, are another model's, or do not fit into memory.
    """
    if find_spec("transformers") is None:
        raise SA3DError(
            f"finding words needs transformers: pip install 'sa3d-nerfstudio[sam]', {_OTHERWISE}"
        )
    path = Path(weights).expanduser()
    if path.is_dir():
        folder, label = path, path.resolve().name
        again = f"hf download HUB_ID --local-dir {path}"
    else:
        folder = cached_folder(weights) or download(
            weights, "--detector", "detector-weights", _OTHERWISE
        )
        label = next((i.name for i in REGISTRY.values() if i.hub_id == weights), weights)
        again = f"hf download {weights} --force-download"
    detector = _detector_class(folder, again)
    with enough_memory(f"to load {label}", SMALLER):
        model, processor = _load(folder, detector, again)
    return detector(model, processor, label, device)


def _detector_class(folder: Path, again: str) -> type[HubDetector]:
    """Which detector the files are for.

    Raises:
        SA3DError: files are missing, or they are another model's.
    """
    missing = missing_files(folder)
    if missing:
        raise SA3DError(
            f"{folder} cannot be loaded: {', '.join(missing)} missing. If it was not downloaded to"
            f" its end: {again}"
        )
    try:
        kind = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, f"{CONFIG}: {error}", again) from error
    if kind not in DETECTOR_OF_TYPE:
        raise SA3DError(
            f"{folder} holds a {kind!r} model, which finds no words: known are"
            f" {', '.join(DETECTOR_OF_TYPE)}; sa3d segmenters lists weights that fit"
        )
    return DETECTOR_OF_TYPE[kind]


def _load(folder: Path, detector: type[HubDetector], again: str) -> tuple[Any, Any]:
    """Model, float32, and processor."""
    import transformers
    from safetensors import SafetensorError

    model_class = getattr(transformers, detector.model_class)
    processor_class = getattr(transformers, detector.processor_class)
    try:
        with quiet_loading():
            model, report = model_class.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
            processor = processor_class.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise _damaged(folder, str(error), again) from error
    lost = sorted(report["missing_keys"])
    if lost:  # transformers would make these up
        raise _damaged(folder, f"{len(lost)} weights are missing, such as {lost[0]}", again)
    return model, processor


def _damaged(folder: Path, reason: str, again: str) -> SA3DError:
    first = reason.splitlines()[0] if reason else "unknown reason"
    return SA3DError(
        f"the detector in {folder} cannot be loaded ({first}): files are missing, damaged or half"
        f" downloaded. Get them again: {again}; {_OTHERWISE}"
    )


def boxes_and_logits(outputs: Any) -> SimpleNamespace:
    """Normalised boxes and logits of an output, on the CPU."""
    return SimpleNamespace(
        logits=outputs.logits.float().cpu(), pred_boxes=outputs.pred_boxes.float().cpu()
    )


def distinct(
    boxes: Tensor, scores: Tensor, size: tuple[int, int], masks: Tensor | None = None
) -> Detections:
    """Detections best first, within the image, each thing once.

    Args:
        boxes: [K, 4] x0, y0, x1, y1 in pixels, anywhere.
        scores: [K].
        size: of the image, (H, W).
        masks: [K, H, W] bool or None.
    """
    from torchvision.ops import nms

    height, width = size
    boxes = torch.minimum(boxes.clamp_min(0), torch.tensor([width, height, width, height]))
    inside = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(dim=1).nonzero()[:, 0]
    kept = inside[nms(boxes[inside], scores[inside], SAME_BOX)][:MOST]
    return Detections(
        boxes[kept].numpy(),
        scores[kept].numpy(),
        None if masks is None else masks[kept].numpy().astype(bool),
    )


def _best(outputs: Any) -> SimpleNamespace:
    """The best queries alone, on the CPU: masks of all of them at full size would fill memory."""
    logits = outputs.pred_logits.float().cpu()
    best = logits[0].argsort(descending=True, stable=True)[: 2 * MOST]
    presence = outputs.presence_logits
    return SimpleNamespace(
        pred_logits=logits[:, best],
        pred_boxes=outputs.pred_boxes.float().cpu()[:, best],
        pred_masks=outputs.pred_masks[:, best.to(outputs.pred_masks.device)].float().cpu(),
        presence_logits=None if presence is None else presence.float().cpu(),
    )
