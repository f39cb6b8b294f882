"""SAM 3's tracker: the part of SAM 3 that takes points, boxes and masks.

Concepts in words need SAM 3's detector, another model over the same file of weights.
"""

from __future__ import annotations

from sa3d.segmenters.sam.sam2 import Sam2Segmenter


class Sam3TrackerSegmenter(Sam2Segmenter):
    """SAM 3's tracker, built like SAM 2; its mask prompt and its logits are 288 x 288."""

    model_class = "Sam3TrackerModel"
    image_processor_class = "Sam3ImageProcessor"
