"""Loads SAM and its relatives through transformers, with remedies in the errors."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sa3d.base.errors import SA3DError
from sa3d.base.json_files import read_json
from sa3d.hub.download import download, quiet_loading
from sa3d.hub.files import CONFIG, WEIGHTS, cached_folder, is_hub_id, missing_files
from sa3d.hub.memory import enough_memory
from sa3d.segmenters.registry import EMBEDDED, label_of
from sa3d.segmenters.sam.family import (
    EdgeTamSegmenter,
    Sam2Segmenter,
    Sam3TrackerSegmenter,
    SamFamilySegmenter,
    SamHQSegmenter,
    SamSegmenter,
)

SEGMENTER_OF_TYPE: dict[str, type[SamFamilySegmenter]] = {
    "sam": SamSegmenter,
    "sam_hq": SamHQSegmenter,
    "sam2": Sam2Segmenter,
    "sam2_video": Sam2Segmenter,
    "edgetam": EdgeTamSegmenter,
    "edgetam_video": EdgeTamSegmenter,
    "sam3_tracker": Sam3TrackerSegmenter,
    "sam3_video": Sam3TrackerSegmenter,
}
"""Segmenters by ``model_type`` in config.json; weights of a video model contain the image model."""

OLDEST_TIMM = (1, 0)

_ANOTHER = f"or use the embedded segmenter: segmenter={EMBEDDED!r}"


@dataclass(frozen=True)
class _Source:
    """Files to load from.

    Attributes:
        folder: of the files.
        weights_file: the weights, if the file has another name than usual.
        label: name of the weights.
        again: the command that downloads these files again.
    """

    folder: Path
    weights_file: Path | None
    label: str
    again: str


def load_sam(
    weights: str, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> SamFamilySegmenter:
    """Load a segmenter with weights of SAM or one of its relatives.

    Args:
        weights: hub id such as "facebook/sam2.1-hiera-tiny"; a folder with config.json,
            preprocessor_config.json and model.safetensors; or a .safetensors file beside the other
            two.
        device: torch device.
        dtype: of the image encoder; None chooses it by the device.

    Raises:
        SA3DError: the weights are not available, are not SAM's, or do not fit into memory.
    """
    if not _installed("transformers"):
        raise SA3DError(f"SAM needs transformers: pip install 'sa3d-nerfstudio[sam]', {_ANOTHER}")
    source = _local_source(Path(weights).expanduser()) or _hub_source(weights)
    segmenter = _segmenter_class(source)
    with enough_memory(f"to load {source.label}"):
        model, processor = _load(source, segmenter)
    return segmenter(model, processor, source.label, device, dtype)


def timm_problem() -> str | None:
    """Return why EdgeTAM cannot run with the installed timm, and the remedy; None if it can."""
    installed = _installed("timm")
    if installed and tuple(int(part) for part in installed.split(".")[:2]) >= OLDEST_TIMM:
        return None
    found = f"{installed} is installed" if installed else "it is not installed"
    return (
        f"EdgeTAM needs timm 1.0 or newer, {found}: pip install 'timm>=1.0' (pip then warns that"
        " nerfstudio requires 0.6.7, which it never imports)"
    )


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _local_source(path: Path) -> _Source | None:
    """Return the files at ``path``, or None if there are none."""
    if path.is_file():
        if path.suffix != ".safetensors":
            raise SA3DError(
                f"{path} is not in the format of transformers (.safetensors beside a config.json):"
                " use a model from the hub, such as segmenter='sam2.1-tiny'; sa3d segmenters lists"
                " them all"
            )
        other = None if path.name == WEIGHTS else path
        return _Source(path.parent, other, path.stem, f"copy {CONFIG} and the others beside it")
    if path.is_dir():
        again = f"hf download HUB_ID --local-dir {path}"
        return _Source(path, None, path.resolve().name, again)
    return None


def _hub_source(hub_id: str) -> _Source:
    if not is_hub_id(hub_id):
        raise SA3DError(f"no such file or folder: {hub_id}")
    folder = cached_folder(hub_id) or download(hub_id, "segmenter", "sam-weights", _ANOTHER)
    return _Source(folder, None, label_of(hub_id), f"hf download {hub_id} --force-download")


def _segmenter_class(source: _Source) -> type[SamFamilySegmenter]:
    """Return the segmenter class for the files of a source.

    Raises:
        SA3DError: files are missing, are not a segmenter's, or the model cannot run here.
    """
    missing = missing_files(source.folder)
    if source.weights_file is not None:
        missing = [name for name in missing if name != WEIGHTS]
    if missing:
        raise SA3DError(
            f"{source.folder} cannot be loaded: {', '.join(missing)} missing. If the download was"
            f" interrupted: {source.again}"
        )
    try:
        kind = read_json(source.folder / CONFIG)["model_type"]
    except (SA3DError, KeyError, TypeError) as error:
        raise _damaged(source, f"{CONFIG}: {error}") from error
    if kind not in SEGMENTER_OF_TYPE:
        raise SA3DError(
            f"{source.folder} holds a {kind!r} model, which is not a promptable segmenter: known"
            f" types are {', '.join(SEGMENTER_OF_TYPE)}; sa3d segmenters lists weights that fit"
        )
    segmenter = SEGMENTER_OF_TYPE[kind]
    problem = timm_problem() if segmenter is EdgeTamSegmenter else None
    if problem:
        raise SA3DError(problem)
    return segmenter


def _load(source: _Source, segmenter: type[SamFamilySegmenter]) -> tuple[Any, Any]:
    """Load the model, float32, and its image processor."""
    import transformers
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model_class = getattr(transformers, segmenter.model_class)
    processor_class = getattr(transformers, segmenter.image_processor_class)
    options = {"dtype": torch.float32, "local_files_only": True, "output_loading_info": True}
    try:
        with quiet_loading():
            if source.weights_file is None:
                model, report = model_class.from_pretrained(source.folder, **options)
            else:
                config = model_class.config_class.from_pretrained(source.folder)
                state = load_file(source.weights_file)
                model, report = model_class.from_pretrained(
                    None, config=config, state_dict=state, **options
                )
            processor = processor_class.from_pretrained(source.folder, local_files_only=True)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise _damaged(source, str(error)) from error
    except RuntimeError as error:
        if "size mismatch" not in str(error) and "mismatched" not in str(error):
            raise
        raise _damaged(source, "the weights do not match config.json") from error
    lost = sorted(report["missing_keys"])
    if lost:  # transformers would initialise these at random
        raise _damaged(source, f"{len(lost)} weights are missing, such as {lost[0]}")
    return model, processor


def _damaged(source: _Source, reason: str) -> SA3DError:
    first = reason.splitlines()[0] if reason else "unknown reason"
    return SA3DError(
        f"the weights in {source.folder} cannot be loaded ({first}): they are damaged, half"
        f" downloaded or not SAM's. Get them again: {source.again}; {_ANOTHER}"
    )
