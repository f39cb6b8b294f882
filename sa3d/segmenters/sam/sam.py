"""SAM (ViT-B, L, H), and SlimSAM, which is a pruned SAM."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sa3d.segmenters.sam.family import SamFamilySegmenter


class SamSegmenter(SamFamilySegmenter):
    """SAM: one feature map; images are padded to a square."""

    model_class = "SamModel"
    image_processor_class = "SamImageProcessor"

    def _feature_maps(self, pixels: Tensor) -> list[Tensor]:
        return [self._model.get_image_embeddings(pixels)]

    def _decoder_inputs(self, maps: list[Tensor]) -> dict[str, Any]:
        return {"image_embeddings": maps[0]}
