"""Pictures with known objects, and tiny SAM weights through the real classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

SIDE_PX, PATCH_PX = 128, 16
"""Input side of the tiny models: small enough for milliseconds."""


def save_tiny_sam(folder: Path) -> Path:
    """Random SAM 1 weights with its processor's files."""
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    torch.manual_seed(0)
    config = SamConfig(
        vision_config={
            "hidden_size": 32,
            "output_channels": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE_PX,
            "patch_size": PATCH_PX,
            "global_attn_indexes": [1],
            "window_size": 4,
            "mlp_dim": 64,
            "num_pos_feats": 16,
        },
        prompt_encoder_config={
            "hidden_size": 32,
            "image_size": SIDE_PX,
            "patch_size": PATCH_PX,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 64,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
    )
    SamModel(config).save_pretrained(folder)
    sizes = {"longest_edge": SIDE_PX}, {"height": SIDE_PX, "width": SIDE_PX}
    low_res = SIDE_PX // PATCH_PX * 4
    processor = SamImageProcessor(
        size=sizes[0],
        pad_size=sizes[1],
        mask_size={"longest_edge": low_res},
        mask_pad_size={"height": low_res, "width": low_res},
    )
    SamProcessor(processor).save_pretrained(folder)
    return folder


def save_tiny_sam2(folder: Path) -> Path:
    """Random SAM 2 weights with its processor's files."""
    from transformers import Sam2Config, Sam2Model, Sam2Processor
    from transformers.models.sam2.image_processing_sam2 import Sam2ImageProcessor

    torch.manual_seed(0)
    size = {"height": SIDE_PX, "width": SIDE_PX}
    config = Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 16,
                "num_attention_heads": 1,
                "image_size": [SIDE_PX, SIDE_PX],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [16, 32, 64, 128],
                "num_attention_heads_per_stage": [1, 2, 4, 8],
                "window_size_per_stage": [8, 4, 4, 2],
                "global_attention_blocks": [3],
                "window_positional_embedding_background_size": [4, 4],
            },
            "backbone_channel_list": [128, 64, 32, 16],
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={
            "hidden_size": 32,
            "image_size": SIDE_PX,
            "patch_size": PATCH_PX,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 64,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
    )
    Sam2Model(config).save_pretrained(folder)
    low_res = SIDE_PX // PATCH_PX * 4
    processor = Sam2ImageProcessor(size=size, mask_size={"height": low_res, "width": low_res})
    Sam2Processor(processor).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sam(tmp_path_factory.mktemp("tiny_sam"))


@pytest.fixture(scope="session")
def tiny_sam2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sam2(tmp_path_factory.mktemp("tiny_sam2"))
