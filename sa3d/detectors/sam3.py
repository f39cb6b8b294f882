"""SAM 3's detector: masks for a concept in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sa3d.detectors.hub_detector import MOST, HubDetector, distinct
from sa3d.detectors.protocol import Detections

_MODEL_INPUTS = ("pixel_values", "input_ids", "attention_mask")


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
