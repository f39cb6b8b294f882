"""Reads a run's photos and cameras by its dataparser, without a data manager."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import torch
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig, DataparserOutputs
from nerfstudio.data.dataparsers.minimal_dataparser import MinimalDataParserConfig
from nerfstudio.engine.trainer import TrainerConfig
from PIL import Image
from torch import Tensor

from nerfstudio_plugin.runs.cameras import from_nerfstudio, with_pose_correction
from sa3d.base.errors import SA3DError
from sa3d.geometry.camera import Camera
from sa3d.scene.views import View

_LOG = logging.getLogger(__name__)
_ANCESTORS = 7
"""Folders above ``config.yml`` that are searched for the data."""
_TAIL = 3
"""Last parts of an absolute path that are looked for beside a run that was moved."""
_SMALLER = (2, 4, 8)
"""Factors of the smaller photos that ``ns-process-data`` writes, ``images_2`` and so on."""


@dataclass(frozen=True)
class RunData:
    """Output of the dataparser: the training split, and the other splits."""

    data: Path
    train: DataparserOutputs
    others: tuple[DataparserOutputs, ...]


def locate_data(config: TrainerConfig, load_config: Path, override: Path | None) -> Path:
    """Return the folder of the run's photos: ``override``, or the path in the config.

    A relative path is tried from the working directory, then from the folders above ``config.yml``.
    Of an absolute path that is not there, the last parts are: a run copied from another computer
    names the folders of that one. A line of the log says what was found so.

    Raises:
        SA3DError: there is no such folder; the message lists the places that were tried.
    """
    if override is not None:
        if not override.exists():
            raise SA3DError(f"'data' {override} does not exist")
        return override
    named = Path(config.pipeline.datamanager.data or _parser_config(config).data)
    if named == Path():
        raise SA3DError(f"{load_config} does not name its photos; give 'data'")
    above = load_config.resolve().parents[:_ANCESTORS]
    absolute = named.is_absolute() or PureWindowsPath(str(named)).is_absolute()
    places = [named] if absolute else [named, *(folder / named for folder in above)]
    for place in places:
        if place.exists():
            return place
    looked = ", ".join(str(place) for place in places)
    if absolute:
        parts = named.parts[1:][-_TAIL:]
        tails = [Path(*parts[start:]) for start in range(len(parts))]
        for place in (folder / tail for tail in tails for folder in above):
            if _is_data(place):
                _LOG.warning(
                    "%s is not on this computer; the photos are read from %s", named, place
                )
                return place
        if tails:
            looked += f", and for {tails[0]} in the {len(above)} folders above {load_config}"
    raise SA3DError(f"the run's photos ({named}) were not found; give 'data'. Looked at: {looked}")


def _is_data(place: Path) -> bool:
    """Return whether a place has cameras, or photos: a run's own folder may have the same name."""
    if place.is_file():
        return place.suffix == ".json"
    return any((place / name).exists() for name in ("transforms.json", "images", "colmap"))


def _parser_config(config: TrainerConfig) -> DataParserConfig:
    parser_config = getattr(config.pipeline.datamanager, "dataparser", None)
    if not isinstance(parser_config, DataParserConfig):
        raise SA3DError("the run's data manager has no dataparser, so its cameras cannot be read")
    if isinstance(parser_config, MinimalDataParserConfig):
        raise SA3DError(
            "the run's dataparser, minimal-data, reads pickles, which can run code: save the "
            "cameras as transforms.json, and train again"
        )
    return parser_config


def parse_data(config: TrainerConfig, data: Path) -> RunData:
    """Run the run's own dataparser, with photos at the largest size that the data has.

    Raises:
        SA3DError: the dataparser rejects the data, or photos are missing.
    """
    found = _parse(config, data, factor=1)
    missing = _missing_photos(found)
    if not missing:
        return found
    chosen = getattr(_parser_config(config), "downscale_factor", None)
    factors = [chosen] if chosen else []
    folder = missing[0].parent
    factors += [one for one in _SMALLER if folder.with_name(f"{folder.name}_{one}").is_dir()]
    for factor in factors:
        smaller = _parse(config, data, factor=factor)
        absent = _missing_photos(smaller)
        if not absent:
            return smaller
        missing = min(missing, absent, key=len)
    raise SA3DError(
        f"{len(missing)} photos of the run are missing, the first is {missing[0]}; restore them or "
        "give 'data'"
    )


def _parse(config: TrainerConfig, data: Path, *, factor: int) -> RunData:
    parser_config = deepcopy(_parser_config(config))
    parser_config.data = data
    if hasattr(parser_config, "load_3D_points"):
        parser_config.load_3D_points = False  # pyright: ignore[reportAttributeAccessIssue]
    try:
        parser = parser_config.setup()
        for name in ("downscale_factor", "_downscale_factor"):
            if hasattr(parser, name):
                setattr(parser, name, factor)
        train = parser.get_dataparser_outputs(split="train")
        if not torch.isfinite(train.cameras.camera_to_worlds).all():
            raise ValueError("a pose is not finite")
    except Exception as error:  # a dataparser may be anybody's, and raise anything
        reason = " ".join(str(error).split())[:300]
        raise SA3DError(
            f"the cameras of {data} cannot be read by {type(parser_config).__name__} "
            f"({type(error).__name__}: {reason}); give 'data'"
        ) from error
    if not train.image_filenames:
        raise SA3DError(f"{data} has no training photos; give 'data'")
    others = []
    for split in ("val", "test"):
        try:
            others.append(parser.get_dataparser_outputs(split=split))
        except Exception:
            continue  # a scene may have no such split; every one has photos to train on
    return RunData(data, train, tuple(others))


def _missing_photos(found: RunData) -> list[Path]:
    every = [path for outputs in (found.train, *found.others) for path in outputs.image_filenames]
    return [path for path in dict.fromkeys(every) if not path.is_file()]


def make_views(
    found: RunData, pose_corrections: Tensor | None, background: tuple[int, int, int]
) -> tuple[View, ...]:
    """Return the views of all splits, each once, in the order of their file names.

    Args:
        found: the parsed data.
        pose_corrections: [training photos, 3, 4], see ``with_pose_correction``; None if training
            moved no cameras.
        background: RGB in [0, 255] behind transparent pixels, if the data names none.

    Raises:
        SA3DError: a camera or a photo is unsuitable.
    """
    cameras = dict(_cameras(found, pose_corrections))
    root = Path(os.path.commonpath([path.parent for path in cameras]))
    if found.train.alpha_color is not None:
        red, green, blue = (round(255 * float(value)) for value in found.train.alpha_color)
        background = (red, green, blue)
    return tuple(
        View(path.relative_to(root).as_posix(), _at_file_size(camera, path), path, background)
        for path, camera in sorted(cameras.items())
    )


def _cameras(found: RunData, pose_corrections: Tensor | None) -> Iterator[tuple[Path, Camera]]:
    trained = set(found.train.image_filenames)
    for outputs in found.others:
        for position, path in enumerate(outputs.image_filenames):
            if path not in trained:
                yield path, from_nerfstudio(outputs.cameras, position)
    for position, path in enumerate(found.train.image_filenames):
        camera = from_nerfstudio(found.train.cameras, position, index=position)
        if pose_corrections is not None:
            camera = with_pose_correction(camera, pose_corrections[position])
        yield path, camera


def _at_file_size(camera: Camera, path: Path) -> Camera:
    """Return the camera at the photo's own size (the data may state another resolution)."""
    try:
        with Image.open(path) as file:
            width, height = file.size
    except (OSError, Image.DecompressionBombError) as error:
        raise SA3DError(f"cannot read the photo {path} ({error}); restore the file") from error
    if (width, height) == (camera.width, camera.height):
        return camera
    stretch = (width / camera.width) / (height / camera.height)
    if abs(stretch - 1) > 0.02:
        raise SA3DError(
            f"{path} has {width}x{height} pixels, its camera {camera.width}x{camera.height}: not "
            "the same shape; restore the photos the cameras were made for"
        )
    return camera.resized(width, height)
