"""SAM 2 and 2.1, and what is built like them: EdgeTAM."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sa3d.segmenters.sam.family import SamFamilySegmenter


class Sam2Segmenter(SamFamilySegmenter):
    """SAM 2: three feature maps, largest first; images are stretched to a square."""

    model_class = "Sam2Model"
    image_processor_class = "Sam2ImageProcessor"

    def _encoder_parts(self) -> list[torch.nn.Module]:
        decoder = self._model.mask_decoder
        # The two convolutions reduce the large maps once per image, not once per prompt.
        return [*super()._encoder_parts(), decoder.conv_s0, decoder.conv_s1]

    def _feature_maps(self, pixels: Tensor) -> list[Tensor]:
        return self._model.get_image_embeddings(pixels)

    def _decoder_inputs(self, maps: list[Tensor]) -> dict[str, Any]:
        return {"image_embeddings": maps}


class EdgeTamSegmenter(Sam2Segmenter):
    """EdgeTAM: SAM 2 with a small convolutional encoder, which lives in timm."""

    model_class = "EdgeTamModel"
