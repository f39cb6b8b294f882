"""SAM and SAM 2 through Hugging Face transformers, behind the segmenter protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sa3d.errors import SA3DError
from sa3d.segmenter import LOGITS_SIZE, MaskPrediction
from sa3d.segmenters.prompt_check import CheckedPrompt, checked_image

SUPPORTED_MODEL_TYPES = ("sam", "sam2")
"""``model_type`` of the configurations this adapter knows (SAM 2.1 is "sam2")."""

VIDEO_MODEL_TYPES = {"sam2_video": "sam2"}
"""SAM 2's weights are published as those of the video model, which holds the image model."""

OUTSIDE_LOGIT = -10.0
"""Mask prompt in SAM 1's padding, where there is no image: surely not the object."""

HUB_PROBE_S = 5.0
"""How long to wait for the hub before saying that the weights cannot be had."""


@dataclass(frozen=True)
class Geometry:
    """How an image lies in the model's square input; sizes are (height, width) in pixels.

    Attributes:
        image: the original image.
        content: the image as resized; smaller than ``model`` where the model pads (SAM 1).
        model: the model's input.
    """

    image: tuple[int, int]
    content: tuple[int, int]
    model: tuple[int, int]

    def to_model(self, xy: np.ndarray) -> np.ndarray:
        """Image pixel indices [..., 2] to model pixel indices; SAM adds the half pixel itself."""
        scale = np.array([self.content[1] / self.image[1], self.content[0] / self.image[0]])
        return (xy + 0.5) * scale - 0.5

    @property
    def filled(self) -> tuple[float, float]:
        """Share of the model's (height, width) that the image fills."""
        return self.content[0] / self.model[0], self.content[1] / self.model[1]


def resample(maps: Tensor, size: tuple[int, int], extent: tuple[float, float]) -> Tensor:
    """Bilinear samples of maps over a part of them, or beyond them.

    Args:
        maps: [K, 1, h, w].
        size: height and width of the result.
        extent: height and width of the sampled part as shares of the map, from its top left corner.
            Above 1 the sampled part reaches beyond the map; there the result is OUTSIDE_LOGIT.

    Returns:
        [K, 1, *size]; ``maps`` itself where it would not change.
    """
    if maps.shape[-2:] == size and extent == (1.0, 1.0):
        return maps
    rows, columns = (
        (torch.arange(n, device=maps.device, dtype=torch.float32) + 0.5) / n * share
        for n, share in zip(size, extent, strict=True)
    )
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    grid = (2 * torch.stack([x, y], dim=-1) - 1).expand(len(maps), -1, -1, -1)
    sampled = functional.grid_sample(maps, grid, padding_mode="border", align_corners=False)
    return torch.where((x > 1) | (y > 1), torch.full_like(sampled, OUTSIDE_LOGIT), sampled)


class SamSegmenter:
    """SAM or SAM 2 with weights from the hub or a local folder.

    The image is encoded once, in :meth:`set_image`; a prompt then costs the small mask decoder.

    Args:
        weights: hub id such as "facebook/sam2.1-hiera-tiny", or a folder with config.json,
            preprocessor_config.json and model.safetensors.
        device: torch device.
        dtype: of the weights and of the cached encoding; bfloat16 halves time and memory.

    Raises:
        SA3DError: the weights cannot be had, or are not SAM's.
    """

    def __init__(
        self, weights: str, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self._model, self._processor = _load(weights)
        self._model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self._device, self._dtype = torch.device(device), dtype
        self._name = f"{weights}:{_fingerprint(self._model)}:{str(dtype).removeprefix('torch.')}"
        self._embeddings: list[Tensor] | None = None
        self._geometry: Geometry | None = None

    @property
    def name(self) -> str:
        """The weights' hub id or folder, a digest of them, and the number type."""
        return self._name

    def set_image(self, image: np.ndarray) -> None:
        """Encode an image, [H, W, 3] uint8 RGB."""
        image = checked_image(image)
        inputs = self._processor(
            images=image, return_tensors="pt", input_data_format="channels_last"
        )
        pixels: Tensor = inputs["pixel_values"].to(self._device, self._dtype)
        model_hw = (pixels.shape[-2], pixels.shape[-1])
        content = inputs.get("reshaped_input_sizes")
        content_hw = model_hw if content is None else (int(content[0][0]), int(content[0][1]))
        with torch.inference_mode():
            embeddings = self._model.get_image_embeddings(pixels)
        self._embeddings = [embeddings] if isinstance(embeddings, Tensor) else list(embeddings)
        self._geometry = Geometry((image.shape[0], image.shape[1]), content_hw, model_hw)

    def predict(
        self,
        point_coords: np.ndarray | None = None,
        point_labels: np.ndarray | None = None,
        box: np.ndarray | None = None,
        mask_logits: np.ndarray | None = None,
        *,
        multimask_output: bool = False,
    ) -> MaskPrediction:
        """Segment the prompted object; see :class:`sa3d.segmenter.PromptableSegmenter`.

        Three candidates come by growing area.
        """
        embeddings, geometry = self._current()
        prompt = CheckedPrompt.of(point_coords, point_labels, box, mask_logits)
        one_map = len(embeddings) == 1 and self._model.config.model_type == "sam"
        with torch.inference_mode():
            out = self._model(
                image_embeddings=embeddings[0] if one_map else embeddings,
                multimask_output=multimask_output,
                **self._tensors(prompt, geometry),
            )
            low_res = out.pred_masks[0, 0].float()[:, None]
            # As in SAM's own post-processing: up to the model's input first, then to the image.
            at_input = functional.interpolate(
                low_res, geometry.model, mode="bilinear", align_corners=False
            )
            content = at_input[..., : geometry.content[0], : geometry.content[1]]
            masks = functional.interpolate(
                content, geometry.image, mode="bilinear", align_corners=False
            )
            logits = resample(low_res, (LOGITS_SIZE, LOGITS_SIZE), geometry.filled)
        masks = (masks[:, 0] > 0).cpu().numpy()
        scores = out.iou_scores[0, 0].float().clamp(0, 1).cpu().numpy()
        order = np.argsort(masks.sum((1, 2)), kind="stable")
        return MaskPrediction(masks[order], scores[order], logits[:, 0].cpu().numpy()[order])

    def save_state(self) -> Mapping[str, np.ndarray]:
        """The encoding and the image's geometry. bfloat16 is stored as its bits, in int16."""
        embeddings, geometry = self._current()
        state = {f"embedding_{i}": _to_numpy(e) for i, e in enumerate(embeddings)}
        return {**state, "geometry": np.array([geometry.image, geometry.content, geometry.model])}

    def restore_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Bring back an encoding of this model."""
        rows = [(int(h), int(w)) for h, w in state["geometry"]]
        self._geometry = Geometry(rows[0], rows[1], rows[2])
        self._embeddings = [
            self._from_numpy(state[f"embedding_{i}"]) for i in range(len(state) - 1)
        ]

    def _current(self) -> tuple[list[Tensor], Geometry]:
        if self._embeddings is None or self._geometry is None:
            raise RuntimeError("no image: call set_image or restore_state first")
        return self._embeddings, self._geometry

    def _tensors(self, prompt: CheckedPrompt, geometry: Geometry) -> dict[str, Tensor]:
        """The model's prompt arguments for one object in one image."""
        tensors: dict[str, Tensor] = {}
        points = np.concatenate([prompt.positive, prompt.negative])
        if len(points):
            labels = np.repeat([1, 0], [len(prompt.positive), len(prompt.negative)])
            tensors["input_points"] = self._tensor(geometry.to_model(points))[None, None]
            tensors["input_labels"] = torch.as_tensor(labels, device=self._device)[None, None]
        if prompt.box is not None:
            corners = geometry.to_model(prompt.box.reshape(2, 2)).reshape(4)
            tensors["input_boxes"] = self._tensor(corners)[None, None]
        if prompt.mask_logits is not None:
            ours = torch.as_tensor(prompt.mask_logits, device=self._device)[None, None]
            beyond = (1 / geometry.filled[0], 1 / geometry.filled[1])
            tensors["input_masks"] = resample(ours, self._mask_size(), beyond).to(self._dtype)
        return tensors

    def _mask_size(self) -> tuple[int, int]:
        """Height and width of a mask prompt: four times the image embedding."""
        assert self._embeddings is not None
        height, width = self._embeddings[-1].shape[-2:]
        return 4 * height, 4 * width

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=self._dtype, device=self._device)

    def _from_numpy(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.array(array))
        if self._dtype == torch.bfloat16:
            tensor = tensor.view(torch.bfloat16)
        return tensor.to(self._device)


def _to_numpy(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu().contiguous()
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _load(weights: str) -> tuple[Any, Any]:
    """Model and processor; from the disk where they are there, else from the hub."""
    try:
        from transformers import AutoConfig, Sam2Model, Sam2Processor, SamModel, SamProcessor
    except ImportError as error:
        raise SA3DError(
            "SAM needs transformers: pip install 'sa3d-nerfstudio[sam]', or use 'graphcut'"
        ) from error
    local_only = Path(weights).is_dir() or _is_cached(weights)
    if not local_only:
        _probe_hub(weights)
    try:
        kind = AutoConfig.from_pretrained(weights, local_files_only=local_only).model_type
        kind = VIDEO_MODEL_TYPES.get(kind, kind)
        if kind not in SUPPORTED_MODEL_TYPES:
            raise SA3DError(f"{weights!r} holds a {kind!r} model; SAM ('sam', 'sam2') is needed")
        model_class, processor_class = (
            (SamModel, SamProcessor) if kind == "sam" else (Sam2Model, Sam2Processor)
        )
        model = model_class.from_pretrained(weights, local_files_only=local_only)
        processor = processor_class.from_pretrained(weights, local_files_only=local_only)
    except (OSError, ValueError) as error:
        raise _no_weights(weights, str(error).splitlines()[0]) from error
    return model, processor


def _is_cached(weights: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    try:
        found = (
            isinstance(try_to_load_from_cache(weights, file), str)
            for file in ("config.json", "preprocessor_config.json", "model.safetensors")
        )
        return all(found)
    except ValueError:  # not a valid hub id
        return False


def _probe_hub(weights: str) -> None:
    """Fail at once where the hub is out of reach: loading itself retries for half a minute."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(weights, timeout=HUB_PROBE_S)
    # The hub client raises its HTTP library's own errors, and that library changes.
    except Exception as error:
        raise _no_weights(weights, f"{type(error).__name__}: {error}".splitlines()[0]) from error


def _no_weights(weights: str, reason: str) -> SA3DError:
    return SA3DError(
        f"SAM weights {weights!r} cannot be loaded ({reason}). Where there is a network:"
        f" hf download {weights} --local-dir sam-weights, then give the folder's path instead;"
        " or use the embedded segmenter 'graphcut', which needs none"
    )


def _fingerprint(model: torch.nn.Module) -> str:
    """8 hex digits over the first values of every weight tensor."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().flatten()[:256].double().cpu().numpy().tobytes())
    return digest.hexdigest()[:8]
