"""Opens trained runs and saved segmentations: ``sa3d.open`` and ``sa3d.load``.

Problems that can be found at once are reported before Nerfstudio is imported, which takes seconds.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypedDict

from nerfstudio_plugin.api.models import Models
from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.fields.config import FieldsConfig, Tcnn
from nerfstudio_plugin.runs.devices import torch_device
from nerfstudio_plugin.runs.known_runs import check_known, remember_run
from nerfstudio_plugin.runs.run_folder import checkpoint_step, find_config
from sa3d.base.errors import SA3DError
from sa3d.base.typed_values import check_value
from sa3d.detectors.loading import check_detector
from sa3d.detectors.protocol import TextDetector
from sa3d.loop.settings import Settings, load_settings, settings_from_dict
from sa3d.objects.checkpoint import SavedSegmentation, load_segmentation
from sa3d.scene.scene import Scene, scene_cache
from sa3d.segmenters.loading import check_segmenter
from sa3d.segmenters.protocol import PromptableSegmenter
from sa3d.segmenters.registry import AUTO

Device = Literal["auto", "cpu", "cuda"]

_CACHE_NAME = "sa3d_cache"


class _Provenance(TypedDict, total=False):
    """The run that a saved segmentation names, with its settings."""

    load_config: str
    data: str
    cache_dir: str | None
    checkpoint: str
    settings: dict[str, Any]


def open(
    load_config: Path | str,
    settings: Settings | str = "default",
    *,
    segmenter: str | PromptableSegmenter | None = None,
    detector: str | TextDetector = AUTO,
    data: Path | str | None = None,
    cache_dir: Path | str | None = None,
    device: Device = "auto",
    load_step: int | None = None,
    tcnn: Tcnn = "auto",
    models: Models | None = None,
) -> OpenScene:
    """Open a trained Nerfstudio run to segment objects in it; evaluates nothing yet.

    Example:
        >>> scene = sa3d.open("outputs/kitchen/nerfacto/RUN/config.yml", "unbounded")

    Args:
        load_config: the run's ``config.yml``, or a folder that holds it: that of the run, or one
            above, of which the newest run is taken.
        settings: a preset's name (``"unbounded"``), a ``.toml`` file, or the settings themselves.
        segmenter: used instead of the one in the settings: a name (``sa3d segmenters`` lists
            them), or any object with the methods of ``PromptableSegmenter``.
        detector: finds objects in words: a name (``sa3d segmenters`` lists them), or any object
            with the methods of ``TextDetector``.
        data: the data set's photos and cameras, if they are not where the config says.
        cache_dir: where scene caches lie; ``sa3d_cache`` beside ``config.yml`` by default.
        device: where to compute; "auto" takes a GPU if there is one.
        load_step: training step of the checkpoint; the latest whole one by default.
        tcnn: evaluates weights that were trained with tiny-cuda-nn: "torch" (on every device),
            "native" (tiny-cuda-nn itself), or "auto": native where it is installed.
        models: segmenters and detectors that another scene has loaded, to share them.

    Raises:
        SA3DError: a problem with the run or the settings that the user can solve.
    """
    if isinstance(settings, str):
        settings = load_settings(settings)
    if segmenter is not None:
        name = segmenter if isinstance(segmenter, str) else segmenter.name
        settings = replace(settings, segmenter=name)
    if segmenter is None or isinstance(segmenter, str):
        check_segmenter(settings.segmenter)
    if isinstance(detector, str):
        check_detector(detector)
    return _open_scene(
        Path(load_config),
        settings,
        segmenter=None if isinstance(segmenter, str) else segmenter,
        detector=detector,
        data=None if data is None else Path(data),
        cache_dir=None if cache_dir is None else Path(cache_dir),
        device=device,
        step=load_step,
        tcnn=tcnn,
        models=models,
    )


def load(
    folder: Path | str,
    *,
    segmenter: PromptableSegmenter | None = None,
    detector: str | TextDetector = AUTO,
    load_config: Path | str | None = None,
    data: Path | str | None = None,
    cache_dir: Path | str | None = None,
    device: Device = "auto",
    tcnn: Tcnn = "auto",
    saved: SavedSegmentation | None = None,
) -> OpenScene:
    """Open a saved segmentation and its run, to export its objects or to change them.

    Example:
        >>> scene = sa3d.load("segmentations/kitchen")
        >>> scene["mug"].export("mug.glb")

    Args:
        folder: written by ``OpenScene.save`` or ``sa3d segment``.
        segmenter: used instead of the one that made the segmentation.
        detector: finds objects in words, as in ``open``.
        load_config: the run's ``config.yml``, if it was moved since, or if you have not opened it
            on this computer yet.
        data: the photos and cameras, only if they were moved since.
        cache_dir: where scene caches lie; by default where they were when the segmentation was
            made, if they are still there, else ``sa3d_cache`` beside ``config.yml``.
        device: where to compute; "auto" takes a GPU if there is one.
        tcnn: evaluates weights that were trained with tiny-cuda-nn, as in ``open``.
        saved: the content of the folder, if it was read (and perhaps changed) before.

    Raises:
        SA3DError: the segmentation is damaged, or was made from another checkpoint or other
            cameras than its run has now.
        UnknownRunError: the segmentation names a run that you have not opened on this computer.
    """
    folder, named = Path(folder), load_config is not None
    if isinstance(detector, str):
        check_detector(detector)
    saved = saved or load_segmentation(folder, torch_device(device))
    notes = saved.provenance
    try:
        check_value(notes, _Provenance)
        load_config = Path(load_config or notes["load_config"])
        data = Path(data or notes["data"])
        stored_cache = notes["cache_dir"]
        settings = saved_settings(saved, folder)
    except (LookupError, ValueError) as error:
        raise SA3DError(
            f"the segmentation in {folder} does not say which run it came from ({error}): segment "
            "again with sa3d segment"
        ) from error
    load_config = find_config(load_config)
    if not named:
        check_known(load_config, folder)
    made_with = notes.get("checkpoint", "")
    step = checkpoint_step(made_with)
    if step is not None and not any(load_config.parent.glob(f"*/{made_with}")):
        step = None  # the latest one, if it is the same
    if cache_dir is None and _holds_scene(stored_cache, saved.segmentation.scene_key):
        cache_dir = stored_cache
    opened = _open_scene(
        load_config,
        settings,
        segmenter=segmenter,
        detector=detector,
        data=data,
        cache_dir=Path(cache_dir) if cache_dir else None,
        device=device,
        step=step,
        tcnn=tcnn,
        saved=saved,
        folder=folder,
    )
    if opened.scene.key != saved.segmentation.scene_key:
        raise SA3DError(
            f"the segmentation in {folder} was made from another checkpoint or other cameras than "
            f"{load_config} has now: segment again, or name the run it was made from: 'load_config'"
        )
    saved.segmentation.check_fits(opened.scene)
    return opened


def saved_settings(saved: SavedSegmentation, folder: Path) -> Settings:
    """Return the settings that a segmentation was made with.

    Raises:
        SA3DError: it does not say which, or a value is wrong.
    """
    try:
        return settings_from_dict(saved.provenance["settings"], str(folder))
    except (LookupError, TypeError, AttributeError) as error:
        raise SA3DError(
            f"the segmentation in {folder} does not say with which settings it was made: segment "
            "again with sa3d segment"
        ) from error


def _holds_scene(cache_dir: object, scene_key: str) -> bool:
    """Return whether a stored cache folder has the scene; it may have been moved, or never was."""
    return isinstance(cache_dir, str) and scene_cache(Path(cache_dir), scene_key).is_dir()


def _open_scene(
    load_config: Path,
    settings: Settings,
    *,
    segmenter: PromptableSegmenter | None,
    detector: str | TextDetector,
    data: Path | None,
    cache_dir: Path | None,
    device: Device,
    step: int | None,
    tcnn: Tcnn,
    models: Models | None = None,
    saved: SavedSegmentation | None = None,
    folder: Path | None = None,
) -> OpenScene:
    """Open a run and its scene, with saved objects if there are any."""
    place = torch_device(device)
    from nerfstudio_plugin.runs.opening import open_run  # imports Nerfstudio

    run = open_run(load_config, data=data, device=device, step=step, fields=FieldsConfig(tcnn))
    remember_run(run.load_config)
    cache_root = default_cache_root(run.load_config) if cache_dir is None else cache_dir
    scene = Scene(run.field, run.views, cache_root, settings.prepare, run.device)
    return OpenScene(
        run,
        scene,
        settings,
        place,
        segmenter=segmenter,
        detector=detector,
        cache_dir=cache_dir,
        models=models,
        saved=saved,
        folder=folder,
    )


def default_cache_root(load_config: Path) -> Path:
    """Return where a run's scene caches lie by default: ``sa3d_cache`` beside its ``config.yml``.

    Args:
        load_config: the run's ``config.yml``, or the folder that it lies in.
    """
    return (load_config if load_config.is_dir() else load_config.parent) / _CACHE_NAME
