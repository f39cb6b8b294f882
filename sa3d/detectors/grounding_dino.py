"""Grounding DINO: boxes for a phrase."""

from __future__ import annotations

from typing import Any

from sa3d.detectors.hub_detector import HubDetector, boxes_and_logits, distinct
from sa3d.detectors.protocol import Detections


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
