"""The Python API: ``sa3d.open``, ``sa3d.load``, and what they return."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.api.segmented_object import SegmentedObject
from nerfstudio_plugin.runs.devices import torch_device
from nerfstudio_plugin.saved.segmentation_folder import ExportSource, reopen
from sa3d.loop.settings import Settings, load_settings, settings_from_dict
from sa3d.segmenters.loading import check_segmenter
from sa3d.segmenters.protocol import PromptableSegmenter

__all__ = ["OpenScene", "SegmentedObject", "load", "open"]


def open(
    load_config: Path | str,
    settings: Settings | str = "default",
    *,
    segmenter: str | PromptableSegmenter | None = None,
    data: Path | str | None = None,
    cache_dir: Path | str | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> OpenScene:
    """Open a trained Nerfstudio run to segment in; nothing is evaluated yet.

    Args:
        load_config: the run's ``config.yml``, or the folder it lies in.
        settings: a preset's name (``"unbounded"``), a ``.toml`` file, or the settings themselves.
        segmenter: a name, as ``sa3d segmenters`` lists them, in place of the settings' own, or any
            object with the protocol's methods.
        data: where the images are, if not where the config says.
        cache_dir: where scene caches lie; ``sa3d_cache`` beside ``config.yml`` by default.
        device: where to compute; auto takes a GPU if there is one.

    Raises:
        SA3DError: anything about the run or the settings that the user has to put right.
    """
    from nerfstudio_plugin.runs.scene_loading import open_scene

    chosen = load_settings(settings) if isinstance(settings, str) else settings
    if segmenter is not None:
        name = segmenter if isinstance(segmenter, str) else segmenter.name
        chosen = replace(chosen, segmenter=name)
    place = torch_device(device)
    loaded = None if isinstance(segmenter, str) else segmenter
    if loaded is None:
        check_segmenter(chosen.segmenter)
    cache = None if cache_dir is None else Path(cache_dir)
    images = None if data is None else Path(data)
    run, scene = open_scene(Path(load_config), images, device, chosen.prepare, cache)
    return OpenScene(run, scene, chosen, place, segmenter=loaded, cache_dir=cache)


def load(
    folder: Path | str,
    *,
    segmenter: PromptableSegmenter | None = None,
    load_config: Path | str | None = None,
    data: Path | str | None = None,
    cache_dir: Path | str | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> OpenScene:
    """Open a saved segmentation, with the run it was made in, to export or to go on with.

    Args:
        folder: written by ``OpenScene.save`` or ``sa3d segment``.
        segmenter: in place of the one it was made with.
        load_config: the run's config.yml, only if it was moved since.
        data: the images and cameras, only if they were moved since.
        cache_dir: the scene caches, only if they were moved since.

    Raises:
        SA3DError: the segmentation is damaged, or its run is not what it was.
    """
    moved = [None if place is None else Path(place) for place in (load_config, data, cache_dir)]
    saved = reopen(Path(folder), *moved, device=device)
    return resumed(saved, moved[2], torch_device(device), segmenter=segmenter)


def resumed(
    saved: ExportSource,
    cache_dir: Path | None,
    device: str,
    *,
    segmenter: PromptableSegmenter | None = None,
) -> OpenScene:
    """Go on with a segmentation that was opened again.

    Args:
        cache_dir: where scene caches lie, if not where its maker noted.
        device: torch device.
        segmenter: in place of the one it was made with.

    Raises:
        SA3DError: its maker noted settings that are none.
    """
    notes = saved.provenance
    settings = settings_from_dict(notes["settings"], str(saved.folder))
    cache = cache_dir or (notes["cache_dir"] and Path(notes["cache_dir"]))
    return OpenScene(
        saved.run,
        saved.scene,
        settings,
        device,
        segmenter=segmenter,
        cache_dir=cache,
        saved=saved.segmentation,
    )
