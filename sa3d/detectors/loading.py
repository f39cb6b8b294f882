"""Loads text detectors through transformers, and says what to do where that fails."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from sa3d.base.errors import SA3DError
from sa3d.detectors.grounding_dino import GroundingDinoDetector
from sa3d.detectors.hub_detector import SMALLER, HubDetector
from sa3d.detectors.owlv2 import Owlv2Detector
from sa3d.detectors.registry import REGISTRY
from sa3d.detectors.sam3 import Sam3TextDetector
from sa3d.hub.download import download, quiet_loading
from sa3d.hub.files import CONFIG, cached_folder, missing_files
from sa3d.hub.memory import enough_memory

DETECTOR_OF_TYPE: dict[str, type[HubDetector]] = {
    "grounding-dino": GroundingDinoDetector,
    "owlv2": Owlv2Detector,
    "sam3": Sam3TextDetector,
    "sam3_video": Sam3TextDetector,
}
"""By ``model_type`` in config.json; SAM 3's video model holds the detector."""

_OTHERWISE = "or mark the object with --points or --box instead of words"


def load_from(weights: str, device: str = "cpu") -> HubDetector:
    """A text detector with its weights.

    Args:
        weights: a folder with config.json, model.safetensors and the processor's and tokenizer's
            files, or a hub id.
        device: torch device.

    Raises:
        SA3DError: the weights cannot be had, are another model's, or do not fit into memory.
    """
    if find_spec("transformers") is None:
        raise SA3DError(
            f"finding words needs transformers: pip install 'sa3d-nerfstudio[sam]', {_OTHERWISE}"
        )
    path = Path(weights).expanduser()
    if path.is_dir():
        folder, label = path, path.resolve().name
        again = f"hf download HUB_ID --local-dir {path}"
    else:
        folder = cached_folder(weights) or download(
            weights, "--detector", "detector-weights", _OTHERWISE
        )
        label = next((i.name for i in REGISTRY.values() if i.hub_id == weights), weights)
        again = f"hf download {weights} --force-download"
    detector = _detector_class(folder, again)
    with enough_memory(f"to load {label}", SMALLER):
        model, processor = _load(folder, detector, again)
    return detector(model, processor, label, device)


def _detector_class(folder: Path, again: str) -> type[HubDetector]:
    """Which detector the files are for.

    Raises:
        SA3DError: files are missing, or they are another model's.
    """
    missing = missing_files(folder)
    if missing:
        raise SA3DError(
            f"{folder} cannot be loaded: {', '.join(missing)} missing. If it was not downloaded to"
            f" its end: {again}"
        )
    try:
        kind = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, f"{CONFIG}: {error}", again) from error
    if kind not in DETECTOR_OF_TYPE:
        raise SA3DError(
            f"{folder} holds a {kind!r} model, which finds no words: known are"
            f" {', '.join(DETECTOR_OF_TYPE)}; sa3d segmenters lists weights that fit"
        )
    return DETECTOR_OF_TYPE[kind]


def _load(folder: Path, detector: type[HubDetector], again: str) -> tuple[Any, Any]:
    """Model, float32, and processor."""
    import transformers
    from safetensors import SafetensorError

    model_class = getattr(transformers, detector.model_class)
    processor_class = getattr(transformers, detector.processor_class)
    try:
        with quiet_loading():
            model, report = model_class.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
            processor = processor_class.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise _damaged(folder, str(error), again) from error
    lost = sorted(report["missing_keys"])
    if lost:  # transformers would make these up
        raise _damaged(folder, f"{len(lost)} weights are missing, such as {lost[0]}", again)
    return model, processor


def _damaged(folder: Path, reason: str, again: str) -> SA3DError:
    first = reason.splitlines()[0] if reason else "unknown reason"
    return SA3DError(
        f"the detector in {folder} cannot be loaded ({first}): files are missing, damaged or half"
        f" downloaded. Get them again: {again}; {_OTHERWISE}"
    )
