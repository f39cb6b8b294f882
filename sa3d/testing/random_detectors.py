"""Tiny text detectors of the real classes with random weights; without downloads."""

from __future__ import annotations

from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch

FAMILIES = ("grounding-dino", "owlv2", "sam3")
"""``model_type`` values that ``save_tiny_detector`` accepts."""

_LAYERS: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
_BERT_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "the", "a", "red", "mug", "ball")
_CLIP_SPECIAL = ("<|startoftext|>", "<|endoftext|>")


def save_tiny_detector(family: str, folder: Path) -> Path:
    """Save a tiny model to a folder, with the same files as on the hub."""
    torch.manual_seed(0)
    model, processor = {
        "grounding-dino": _grounding_dino,
        "owlv2": _owlv2,
        "sam3": _sam3,
    }[family]()
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _grounding_dino() -> tuple[Any, Any]:
    import transformers as hub

    vocabulary = {word: position for position, word in enumerate(_BERT_WORDS)}
    backbone = hub.SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        out_indices=[2, 3, 4],  # pyright: ignore[reportCallIssue]
    )
    text = hub.BertConfig(
        **_LAYERS,
        num_hidden_layers=1,
        vocab_size=len(vocabulary),
        max_position_embeddings=64,
        pad_token_id=0,
    )
    config = hub.GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        num_queries=10,
        encoder_layers=1,
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=32,
        decoder_attention_heads=2,
        d_model=32,
        max_text_len=64,
    )
    processor = hub.GroundingDinoProcessor(
        hub.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}),
        hub.BertTokenizer(vocab=vocabulary),
    )
    return hub.GroundingDinoForObjectDetection(config), processor


def _owlv2() -> tuple[Any, Any]:
    import transformers as hub

    tokenizer = _clip_tokenizer(16)
    config = hub.Owlv2Config(
        text_config={
            **_LAYERS,
            "num_hidden_layers": 1,
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={**_LAYERS, "num_hidden_layers": 1, "image_size": 64, "patch_size": 16},
        projection_dim=32,
    )
    images = hub.Owlv2ImageProcessor(size={"height": 64, "width": 64})
    return hub.Owlv2ForObjectDetection(config), hub.Owlv2Processor(images, tokenizer)


def _sam3() -> tuple[Any, Any]:
    import transformers as hub

    tokenizer = _clip_tokenizer(32)
    layers = {**_LAYERS, "num_layers": 1}
    backbone = {
        **_LAYERS,
        "model_type": "sam3_vit_model",
        "num_hidden_layers": 2,
        "image_size": 112,
        "pretrain_image_size": 56,
        "window_size": 4,
        "global_attn_indexes": [1],
    }
    config = hub.Sam3Config(
        vision_config={
            "backbone_config": backbone,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": 32,
        },
        text_config={
            **_LAYERS,
            "model_type": "clip_text_model",
            "num_hidden_layers": 1,
            "projection_dim": 32,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 32,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        geometry_encoder_config=layers,
        detr_encoder_config=layers,
        detr_decoder_config={**layers, "num_queries": 10},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
    )
    images = hub.Sam3ImageProcessor(size={"height": 112, "width": 112})
    return hub.Sam3Model(config), hub.Sam3Processor(images, tokenizer)


def _clip_tokenizer(longest: int) -> Any:
    """Return a tokenizer of letters; padding is token 0 and the end the last token, for OWLv2."""
    from transformers import CLIPTokenizer

    letters = [letter + end for letter in ascii_lowercase for end in ("", "</w>")]
    words = ["!", *letters, *_CLIP_SPECIAL]
    vocabulary = {word: position for position, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], pad_token="!", model_max_length=longest)
