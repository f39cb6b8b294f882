"""Text detectors that run through transformers: Grounding DINO, OWLv2 and SAM 3."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.base.json_files import read_json
from sa3d.detectors.protocol import Detections, checked_words
from sa3d.detectors.registry import REGISTRY
from sa3d.hub.download import download, quiet_loading
from sa3d.hub.files import CONFIG, cached_folder, missing_files
from sa3d.hub.memory import enough_memory
from sa3d.segmenters.prompt_check import checked_image

MOST = 20
"""Number of detections kept of an image."""

SAME_BOX = 0.7
"""Boxes with a larger IoU are the same object detected twice."""

SMALLER = "use a smaller detector (detector='grounding-dino-tiny')"

_OTHERWISE = "or mark the object with 'points' or 'box' instead of words"

_ARTICLES = ("the ", "a ", "an ")
_MODEL_INPUTS = ("pixel_values", "input_ids", "attention_mask")


class HubDetector:
    """A text detector with loaded weights; subclasses adapt its inputs and outputs.

    Args:
        model: of ``model_class``, float32.
        processor: of ``processor_class``.
        label: name of the weights: a short name, a hub id or a folder's name.
        device: torch device.

    Raises:
        SA3DError: the device has too little memory, here or in ``detect``.
    """

    model_class: ClassVar[str]
    """Name of the model's class in transformers."""
    processor_class: ClassVar[str]
    """Name of the processor's class in transformers."""
    threshold: float
    """Score from which a detection counts, as the model's authors recommend."""

    def __init__(self, model: Any, processor: Any, label: str, device: str = "cpu") -> None:
        self.name = label
        self._device = torch.device(device)
        self._processor = processor
        with enough_memory(f"to load {label}", SMALLER):
            self._model = model.to(self._device).eval().requires_grad_(False)

    def detect(self, image: np.ndarray, text: str) -> Detections:
        """Detect the objects in an image that words name; see ``TextDetector``."""
        from PIL import Image

        words, image = checked_words(text), checked_image(image)
        with enough_memory(f"for {self.name}", SMALLER), torch.inference_mode():
            inputs = self._processor(
                images=Image.fromarray(image), return_tensors="pt", **self._query(words)
            )
            outputs = self._model(**self._model_inputs(inputs))
            return self._detections(outputs, inputs, (image.shape[0], image.shape[1]))

    def _query(self, words: str) -> dict[str, Any]:
        """Return the processor's arguments for the words."""
        raise NotImplementedError

    def _model_inputs(self, inputs: Any) -> dict[str, Any]:
        """Return the model's arguments from the processor's output, on the device."""
        return dict(inputs.to(self._device))

    def _detections(self, outputs: Any, inputs: Any, size: tuple[int, int]) -> Detections:
        """Return the detections in the model's output, for an image of size (H, W)."""
        raise NotImplementedError


class GroundingDinoDetector(HubDetector):
    """Grounding DINO: boxes for a phrase; the score of a box is that of its best word."""

    model_class = "GroundingDinoForObjectDetection"
    processor_class = "GroundingDinoProcessor"
    threshold = 0.25

    def _query(self, words: str) -> dict[str, Any]:
        """Return the words as one phrase: lower case, with one full stop, at the end."""
        return {"text": words.lower().replace(".", " ").strip() + "."}

    def _detections(self, outputs: Any, inputs: Any, size: tuple[int, int]) -> Detections:
        [found] = self._processor.post_process_grounded_object_detection(
            boxes_and_logits(outputs), inputs["input_ids"].cpu(), threshold=0.0, target_sizes=[size]
        )
        return distinct(found["boxes"], found["scores"], size)


class Owlv2Detector(HubDetector):
    """OWLv2: boxes for a caption of at most 16 tokens."""

    model_class = "Owlv2ForObjectDetection"
    processor_class = "Owlv2Processor"
    threshold = 0.1

    def _query(self, words: str) -> dict[str, Any]:
        """Return the words in a caption as OWLv2 was trained with."""
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
    """SAM 3's detector: boxes and masks for a concept in at most 32 tokens."""

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
"""Detectors by ``model_type`` in config.json; SAM 3's video model contains the detector."""


def load_hub_detector(weights: str, device: str = "cpu") -> HubDetector:
    """Load a text detector from a folder or from the hub.

    Args:
        weights: a folder with config.json, model.safetensors and the files of the processor and
            the tokenizer, or a hub id.
        device: torch device.

    Raises:
        SA3DError: the weights are not available, are not a detector's, or do not fit into memory.
    """
    if find_spec("transformers") is None:
        raise SA3DError(
            f"text detectors need transformers: pip install 'sa3d-nerfstudio[sam]', {_OTHERWISE}"
        )
    path = Path(weights).expanduser()
    if path.is_dir():
        folder, label = path, path.resolve().name
        again = f"hf download HUB_ID --local-dir {path}"
    else:
        folder = cached_folder(weights) or download(
            weights, "detector", "detector-weights", _OTHERWISE
        )
        label = next((i.name for i in REGISTRY.values() if i.hub_id == weights), weights)
        again = f"hf download {weights} --force-download"
    detector = _detector_class(folder, again)
    with enough_memory(f"to load {label}", SMALLER):
        model, processor = _load(folder, detector, again)
    return detector(model, processor, label, device)


def _detector_class(folder: Path, again: str) -> type[HubDetector]:
    """Return the detector class for the files in a folder.

    Raises:
        SA3DError: files are missing, or they are not a detector's.
    """
    missing = missing_files(folder)
    if missing:
        raise SA3DError(
            f"{folder} cannot be loaded: {', '.join(missing)} missing. If the download was"
            f" interrupted: {again}"
        )
    try:
        kind = read_json(folder / CONFIG)["model_type"]
    except (SA3DError, KeyError, TypeError) as error:
        raise _damaged(folder, f"{CONFIG}: {error}", again) from error
    if kind not in DETECTOR_OF_TYPE:
        raise SA3DError(
            f"{folder} holds a {kind!r} model, which is not a text detector: known types are"
            f" {', '.join(DETECTOR_OF_TYPE)}; sa3d segmenters lists weights that fit"
        )
    return DETECTOR_OF_TYPE[kind]


def _load(folder: Path, detector: type[HubDetector], again: str) -> tuple[Any, Any]:
    """Load the model, float32, and its processor."""
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
    if lost:  # transformers would initialise these at random
        raise _damaged(folder, f"{len(lost)} weights are missing, such as {lost[0]}", again)
    return model, processor


def _damaged(folder: Path, reason: str, again: str) -> SA3DError:
    first = reason.splitlines()[0] if reason else "unknown reason"
    return SA3DError(
        f"the detector in {folder} cannot be loaded ({first}): files are missing, damaged or half"
        f" downloaded. Get them again: {again}; {_OTHERWISE}"
    )


def boxes_and_logits(outputs: Any) -> SimpleNamespace:
    """Return the normalised boxes and the logits of an output, on the CPU."""
    return SimpleNamespace(
        logits=outputs.logits.float().cpu(), pred_boxes=outputs.pred_boxes.float().cpu()
    )


def distinct(
    boxes: Tensor, scores: Tensor, size: tuple[int, int], masks: Tensor | None = None
) -> Detections:
    """Return distinct detections, best first, with their boxes clipped to the image.

    Args:
        boxes: [K, 4] x0, y0, x1, y1 in pixels; they may reach beyond the image.
        scores: [K].
        size: (H, W) of the image.
        masks: [K, H, W] bool, or None.
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
    """Return only the best queries, on the CPU; masks of all queries need too much memory."""
    logits = outputs.pred_logits.float().cpu()
    best = logits[0].argsort(descending=True, stable=True)[: 2 * MOST]
    presence = outputs.presence_logits
    return SimpleNamespace(
        pred_logits=logits[:, best],
        pred_boxes=outputs.pred_boxes.float().cpu()[:, best],
        pred_masks=outputs.pred_masks[:, best.to(outputs.pred_masks.device)].float().cpu(),
        presence_logits=None if presence is None else presence.float().cpu(),
    )
