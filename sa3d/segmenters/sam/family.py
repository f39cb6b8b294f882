"""SAM and its relatives behind the segmenter protocol.

The large encoder runs once for each image, the small decoder once for each prompt. The encoder may
compute in half precision. Everything else computes in float32, since bfloat16 would round a point
by several pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sa3d.hub.memory import enough_memory, is_out_of_memory
from sa3d.segmenters.prompt_check import CheckedPrompt, checked_image
from sa3d.segmenters.protocol import LOGITS_SIZE, MaskPrediction
from sa3d.segmenters.sam.geometry import Geometry, masks_in_image, resample

CUDA_BATCH_SIZE = 4
"""Number of images encoded at once on a GPU; larger batches are hardly faster."""


@dataclass(frozen=True)
class Encoding:
    """An encoded image.

    Attributes:
        maps: feature maps [1, C, h, w], the smallest last except for SAM-HQ. They are float16, as
            when stored, so that a restored encoding equals the new one.
        geometry: the place of the image in the model's input.
    """

    maps: tuple[Tensor, ...]
    geometry: Geometry

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the encoding as arrays that can be stored."""
        maps = {f"embedding_{i}": one.cpu().numpy() for i, one in enumerate(self.maps)}
        sizes = [self.geometry.image, self.geometry.content, self.geometry.model]
        return {**maps, "geometry": np.array(sizes)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], device: torch.device) -> Encoding:
        """Return the encoding that ``arrays`` stored."""
        image, content, model = ((int(h), int(w)) for h, w in arrays["geometry"])
        maps = (arrays[f"embedding_{i}"] for i in range(len(arrays) - 1))
        tensors = tuple(torch.from_numpy(np.array(one)).to(device) for one in maps)
        return cls(tensors, Geometry(image, content, model))


class SamFamilySegmenter:
    """One of SAM's relatives with loaded weights; subclasses adapt the calls of its model.

    Args:
        model: of ``model_class``, float32.
        image_processor: of ``image_processor_class``.
        label: name of the weights: a short name, a hub id or a folder's name.
        device: torch device.
        dtype: of the image encoder; None is float32 on a CPU, bfloat16 on a GPU that supports it,
            and float16 on other GPUs.

    Raises:
        SA3DError: the device has too little memory, here or in any method.
    """

    model_class: ClassVar[str]
    """Name of the model's class in transformers."""
    image_processor_class: ClassVar[str]
    """Name of the image processor's class in transformers."""

    def __init__(
        self,
        model: Any,
        image_processor: Any,
        label: str,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        self._device = torch.device(device)
        self._dtype = dtype or default_dtype(self._device)
        digest = _fingerprint(model)
        self._label = label
        self._name = f"{label}:{digest}:{str(self._dtype).removeprefix('torch.')}"
        with enough_memory(f"to load {label}"):
            self._model = model.to(self._device).eval().requires_grad_(False)
            for part in self._encoder_parts():
                part.to(self._dtype)
        self._processor = image_processor
        self.batch_size = CUDA_BATCH_SIZE if self._device.type == "cuda" else 1
        """Number of images to encode at once; larger batches are not faster on a CPU."""
        self._encoding: Encoding | None = None

    @property
    def name(self) -> str:
        """The label of the weights, a digest of them, and the encoder's number type."""
        return self._name

    def set_image(self, image: np.ndarray) -> None:
        """Encode an image [H, W, 3] uint8 RGB and make it the current one."""
        [self._encoding] = self._encode([checked_image(image)])

    def encode_images(self, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Encode several images at once; see ``EncodesBatches``."""
        checked = [checked_image(image) for image in images]
        return [encoding.arrays() for encoding in self._encode(checked)]

    def predict(
        self,
        point_coords: np.ndarray | None = None,
        point_labels: np.ndarray | None = None,
        box: np.ndarray | None = None,
        mask_logits: np.ndarray | None = None,
        *,
        multimask_output: bool = False,
    ) -> MaskPrediction:
        """Segment the prompted object in the current image; see ``PromptableSegmenter``."""
        encoding = self._current()
        prompt = CheckedPrompt.of(point_coords, point_labels, box, mask_logits)
        with enough_memory(f"for a prompt to {self._label}"), torch.inference_mode():
            maps = [one.float() for one in encoding.maps]
            out = self._model(
                **self._decoder_inputs(maps),
                **self._prompt_inputs(prompt, encoding),
                multimask_output=multimask_output,
            )
            low_res = out.pred_masks[0, 0].float()[:, None]
            masks = masks_in_image(low_res, encoding.geometry).cpu().numpy()
            size = (LOGITS_SIZE, LOGITS_SIZE)
            logits = resample(low_res, size, encoding.geometry.filled)[:, 0].cpu().numpy()
        scores = out.iou_scores[0, 0].float().clamp(0, 1).cpu().numpy()
        order = np.argsort(masks.sum((1, 2)), kind="stable")
        return MaskPrediction(masks[order], scores[order], logits[order])

    def save_state(self) -> Mapping[str, np.ndarray]:
        """Return the encoding of the current image, float16, with its geometry."""
        return self._current().arrays()

    def restore_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Make the image of a stored encoding of this model the current one."""
        self._encoding = Encoding.from_arrays(state, self._device)

    def _encoder_parts(self) -> list[torch.nn.Module]:
        """Return the modules that may compute in half precision."""
        return [self._model.vision_encoder]

    def _feature_maps(self, pixels: Tensor) -> list[Tensor]:
        """Return the feature maps [B, C, h, w] of images [B, 3, h, w]."""
        raise NotImplementedError

    def _decoder_inputs(self, maps: list[Tensor]) -> dict[str, Any]:
        """Return the model's arguments for the feature maps of one image, float32."""
        raise NotImplementedError

    def _image_map(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the feature map that the prompt attends to."""
        return maps[-1]

    def _current(self) -> Encoding:
        if self._encoding is None:
            raise RuntimeError("no image: call set_image or restore_state first")
        return self._encoding

    def _encode(self, images: list[np.ndarray]) -> list[Encoding]:
        done: list[Encoding] = []
        with enough_memory(f"to encode a view with {self._label}"):
            while len(done) < len(images):
                batch = images[len(done) : len(done) + self.batch_size]
                try:
                    done += self._encode_batch(batch)
                except RuntimeError as error:
                    if len(batch) == 1 or not is_out_of_memory(error):
                        raise
                    self.batch_size = 1  # for the following images too
        return done

    def _encode_batch(self, images: list[np.ndarray]) -> list[Encoding]:
        inputs = self._processor(
            images=images, return_tensors="pt", input_data_format="channels_last"
        )
        pixels: Tensor = inputs["pixel_values"]
        model_hw = (pixels.shape[-2], pixels.shape[-1])
        contents = inputs.get("reshaped_input_sizes")
        largest = torch.finfo(torch.float16).max
        with torch.inference_mode():
            maps = self._feature_maps(pixels.to(self._device, self._dtype))
            stored = [one.clamp(-largest, largest).half() for one in maps]
        return [
            Encoding(
                tuple(one[i : i + 1].contiguous() for one in stored),
                Geometry(
                    (image.shape[0], image.shape[1]),
                    model_hw if contents is None else (int(contents[i][0]), int(contents[i][1])),
                    model_hw,
                ),
            )
            for i, image in enumerate(images)
        ]

    def _prompt_inputs(self, prompt: CheckedPrompt, encoding: Encoding) -> dict[str, Tensor]:
        """The model's prompt arguments for one object in one image."""
        tensors: dict[str, Tensor] = {}
        geometry = encoding.geometry
        points = np.concatenate([prompt.positive, prompt.negative])
        if len(points):
            labels = np.repeat([1, 0], [len(prompt.positive), len(prompt.negative)])
            tensors["input_points"] = self._tensor(geometry.to_model(points))[None, None]
            tensors["input_labels"] = torch.as_tensor(labels, device=self._device)[None, None]
        if prompt.box is not None:
            corners = geometry.to_model(prompt.box.reshape(2, 2)).reshape(4)
            tensors["input_boxes"] = self._tensor(corners)[None, None]
        if prompt.mask_logits is not None:
            height, width = self._image_map(encoding.maps).shape[-2:]
            beyond = (1 / geometry.filled[0], 1 / geometry.filled[1])
            logits = self._tensor(prompt.mask_logits)[None, None]
            # A mask prompt has four times the side of the image embedding.
            tensors["input_masks"] = resample(logits, (4 * height, 4 * width), beyond)
        return tensors

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=self._device)


class SamSegmenter(SamFamilySegmenter):
    """SAM and SlimSAM, a pruned SAM: one feature map; images are padded to a square."""

    model_class = "SamModel"
    image_processor_class = "SamImageProcessor"

    def _feature_maps(self, pixels: Tensor) -> list[Tensor]:
        return [self._model.get_image_embeddings(pixels)]

    def _decoder_inputs(self, maps: list[Tensor]) -> dict[str, Any]:
        return {"image_embeddings": maps[0]}


class SamHQSegmenter(SamFamilySegmenter):
    """SAM-HQ: its decoder also reads an early layer of the encoder, for finer borders.

    The maps are SAM's feature map and the output of the first global attention layer [1, h, w, C].
    """

    model_class = "SamHQModel"
    image_processor_class = "SamImageProcessor"

    def _feature_maps(self, pixels: Tensor) -> list[Tensor]:
        embedding, layers = self._model.get_image_embeddings(pixels)
        return [embedding, layers[0]]  # the decoder reads no other layer

    def _decoder_inputs(self, maps: list[Tensor]) -> dict[str, Any]:
        return {"image_embeddings": maps[0], "intermediate_embeddings": [maps[1]]}

    def _image_map(self, maps: Sequence[Tensor]) -> Tensor:
        return maps[0]


class Sam2Segmenter(SamFamilySegmenter):
    """SAM 2 and 2.1: three feature maps, largest first; images are stretched to a square."""

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
    """EdgeTAM: SAM 2 with a small convolutional encoder from timm."""

    model_class = "EdgeTamModel"


class Sam3TrackerSegmenter(Sam2Segmenter):
    """SAM 3's tracker: takes points, boxes and masks, and is built like SAM 2.

    Its mask prompts and logits are 288 x 288. Words need SAM 3's detector, another model in the
    same weights file: ``sa3d.detectors.hub_detectors.Sam3TextDetector``.
    """

    model_class = "Sam3TrackerModel"
    image_processor_class = "Sam3ImageProcessor"


def default_dtype(device: torch.device) -> torch.dtype:
    """Return the encoder's number type: float32 on a CPU, the best half precision on a GPU."""
    if device.type != "cuda":
        return torch.float32
    has_bfloat16 = torch.cuda.get_device_capability(device)[0] >= 8
    return torch.bfloat16 if has_bfloat16 else torch.float16


def _fingerprint(model: torch.nn.Module) -> str:
    """Return 8 hex digits of a hash over the first values of every weight tensor."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().flatten()[:256].double().cpu().numpy().tobytes())
    return digest.hexdigest()[:8]
