"""OWLv2: boxes for a caption."""

from __future__ import annotations

from typing import Any

from sa3d.detectors.hub_detector import HubDetector, boxes_and_logits, distinct
from sa3d.detectors.protocol import Detections

_ARTICLES = ("the ", "a ", "an ")


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
