"""SAM-HQ: SAM whose decoder also sees an early layer of the encoder, for finer borders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from sa3d.segmenters.sam.family import SamFamilySegmenter


class SamHQSegmenter(SamFamilySegmenter):
    """SAM-HQ: SAM's feature map, and the first global attention layer's [1, h, w, C]."""

    model_class = "SamHQModel"
    image_processor_class = "SamImageProcessor"

    def _feature_maps(self, pixels: Tensor) -> list[Tensor]:
        embedding, layers = self._model.get_image_embeddings(pixels)
        return [embedding, layers[0]]  # the decoder reads no other layer

    def _decoder_inputs(self, maps: list[Tensor]) -> dict[str, Any]:
        return {"image_embeddings": maps[0], "intermediate_embeddings": [maps[1]]}

    def _image_map(self, maps: Sequence[Tensor]) -> Tensor:
        return maps[0]
