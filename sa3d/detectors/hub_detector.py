"""What the detectors of transformers share: see ``HubDetector``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sa3d.detectors.protocol import Detections, checked_words
from sa3d.hub.memory import enough_memory
from sa3d.segmenters.prompt_check import checked_image

MOST = 20
"""Detections kept of an image."""

SAME_BOX = 0.7
"""Boxes whose IoU is above this are one thing detected twice."""

SMALLER = "take a smaller detector (--detector grounding-dino-tiny)"


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
