"""SAM and its relatives with random weights, tiny or at true size; without downloads.

The masks are meaningless. The models are for tests, and for measuring time and memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

_Options = Mapping[str, Any]

FAMILIES = ("sam", "sam_hq", "sam2", "edgetam", "sam3_tracker")
"""``model_type`` values that ``tiny_sam`` accepts."""

TINY_SIDE_PX = 128
"""Input side of the tiny models: small, so that they take milliseconds."""

_VIT_LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "global_attn_indexes": [5, 11, 17, 23],
}
_VIT_HUGE = {
    "hidden_size": 1280,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "global_attn_indexes": [7, 15, 23, 31],
}
_HIERA_SMALL = {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]}
_HIERA_BASE_PLUS = {
    "hidden_size": 112,
    "num_attention_heads": 2,
    "blocks_per_stage": [2, 3, 16, 3],
    "embed_dim_per_stage": [112, 224, 448, 896],
    "num_attention_heads_per_stage": [2, 4, 8, 16],
    "global_attention_blocks": [12, 16, 20],
    "window_positional_embedding_background_size": [14, 14],
}
_HIERA_LARGE = {
    "hidden_size": 144,
    "num_attention_heads": 2,
    "blocks_per_stage": [2, 6, 36, 4],
    "embed_dim_per_stage": [144, 288, 576, 1152],
    "num_attention_heads_per_stage": [2, 4, 8, 16],
    "window_size_per_stage": [8, 4, 16, 8],
    "global_attention_blocks": [23, 33, 43],
}
_TRUE_SIZES: dict[str, tuple[str, _Options]] = {
    "slimsam-77": ("sam", {"hidden_size": 168, "mlp_dim": 696}),
    "slimsam-50": ("sam", {"hidden_size": 384, "mlp_dim": 1536}),
    "edgetam": ("edgetam", {}),
    "sam2.1-tiny": ("sam2", {}),
    "sam2.1-small": ("sam2", _HIERA_SMALL),
    "sam2.1-base-plus": ("sam2", _HIERA_BASE_PLUS),
    "sam2.1-large": ("sam2", _HIERA_LARGE),
    "sam-base": ("sam", {}),
    "sam-large": ("sam", _VIT_LARGE),
    "sam-huge": ("sam", _VIT_HUGE),
    "sam-hq-base": ("sam_hq", {}),
    "sam-hq-large": ("sam_hq", _VIT_LARGE),
    "sam-hq-huge": ("sam_hq", _VIT_HUGE),
    "sam3": ("sam3_tracker", {}),
}
"""By short name: family, and the options of its image encoder that differ from the defaults."""

_TINY_PROMPTS = {"hidden_size": 32, "image_size": TINY_SIDE_PX, "mask_input_channels": 4}
_TINY_DECODER = {
    "hidden_size": 32,
    "mlp_dim": 64,
    "num_attention_heads": 2,
    "iou_head_hidden_dim": 32,
}
_TINY_VIT = {
    "hidden_size": 32,
    "output_channels": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": TINY_SIDE_PX,
    "global_attn_indexes": [1],
    "window_size": 4,
    "mlp_dim": 64,
    "num_pos_feats": 16,
    "initializer_range": 0.2,  # with the default of 1e-10 all images look the same
}
_TINY_HIERA = {
    "hidden_size": 16,
    "image_size": [TINY_SIDE_PX, TINY_SIDE_PX],
    "blocks_per_stage": [1, 1, 2, 1],
    "embed_dim_per_stage": [16, 32, 64, 128],
    "window_size_per_stage": [8, 4, 4, 2],
    "global_attention_blocks": [3],
    "window_positional_embedding_background_size": [4, 4],
}
_TINY_VIT3 = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 112,
    "pretrain_image_size": 56,
    "window_size": 4,
    "global_attn_indexes": [1],
}
_REPVIT = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}


def family_of(name: str) -> str:
    """Return the family, one of ``FAMILIES``, of a segmenter in the registry."""
    return _TRUE_SIZES[name][0]


def true_size_sam(name: str) -> tuple[Any, Any]:
    """Return model and image processor of a segmenter in the registry, with random weights."""
    family, encoder = _TRUE_SIZES[name]
    vision = dict(encoder)
    if family in ("sam2", "edgetam", "sam3_tracker"):
        vision = _pyramid(family, encoder)
    decoder = {"vit_dim": encoder.get("hidden_size", 768)} if family == "sam_hq" else {}
    return _build(family, vision, {}, decoder), _processor(family, None)


def tiny_sam(family: str) -> tuple[Any, Any]:
    """Return model and image processor of a family, with a few hundred thousand random weights."""
    prompts, decoder = dict(_TINY_PROMPTS), dict(_TINY_DECODER)
    side = TINY_SIDE_PX
    if family in ("sam", "sam_hq"):
        vision: dict[str, Any] = dict(_TINY_VIT)
        decoder |= {"vit_dim": 32} if family == "sam_hq" else {}
    elif family == "sam2":
        vision = _pyramid(family, _TINY_HIERA) | {
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": 32,
        }
    elif family == "edgetam":
        small = {"embed_dim": [16, 32, 64, 128], "depth": [1, 1, 1, 1]}
        vision = _pyramid(family, small) | {
            "backbone_channel_list": [128, 64, 32, 16],
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": 32,
        }
    else:
        side = 112
        prompts["image_size"] = side
        vision = _pyramid(family, _TINY_VIT3) | {
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": 32,
        }
    return _build(family, vision, prompts, decoder), _processor(family, side)


def save_tiny_sam(family: str, folder: Path) -> Path:
    """Save a tiny model to a folder, with the same files as on the hub."""
    model, processor = tiny_sam(family)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _pyramid(family: str, backbone: _Options) -> dict[str, Any]:
    """Return the vision configuration of a family with a backbone and a feature pyramid."""
    if family == "sam2":
        channels = list(reversed(backbone.get("embed_dim_per_stage", [96, 192, 384, 768])))
        config = {"model_type": "sam2_hiera_det_model", **backbone}
        return {"backbone_config": config, "backbone_channel_list": channels}
    if family == "edgetam":
        from transformers import TimmWrapperConfig

        return {
            "backbone_config": TimmWrapperConfig(  # built by timm, without a download
                architecture="repvit_m1", model_args={**_REPVIT, **backbone}
            )
        }
    return {"backbone_config": {"model_type": "sam3_vit_model", **backbone}}


def _build(family: str, vision: _Options, prompts: _Options, decoder: _Options) -> Any:
    import transformers

    from sa3d.segmenters.sam.loading import SEGMENTER_OF_TYPE

    model_class = getattr(transformers, SEGMENTER_OF_TYPE[family].model_class)
    config = model_class.config_class(
        vision_config=_with_type(family, vision),
        prompt_encoder_config=dict(prompts),
        mask_decoder_config=dict(decoder),
    )
    torch.manual_seed(0)
    return model_class(config).eval()


def _with_type(family: str, vision: _Options) -> Any:
    if family != "edgetam":
        return dict(vision)
    from transformers import EdgeTamVisionConfig

    return EdgeTamVisionConfig(**vision)


def _processor(family: str, side: int | None) -> Any:
    """Return a family's image processor for images of ``side`` pixels; None for its default."""
    import transformers

    from sa3d.segmenters.sam.loading import SEGMENTER_OF_TYPE

    processor = getattr(transformers, SEGMENTER_OF_TYPE[family].image_processor_class)
    if side is None:
        return processor()
    square = {"height": side, "width": side}
    if family in ("sam", "sam_hq"):
        return processor(size={"longest_edge": side}, pad_size=square)
    return processor(size=square)
