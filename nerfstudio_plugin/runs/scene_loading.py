"""Opens a trained run together with its scene: what every command starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nerfstudio_plugin.runs.opening import Run, open_run
from sa3d.scene.config import PrepareConfig
from sa3d.scene.scene import Scene

_CACHE_NAME = "sa3d_cache"


def default_cache_root(load_config: Path) -> Path:
    """Where a run's scene caches lie unless told otherwise: ``sa3d_cache`` beside its config.yml.

    Args:
        load_config: the run's ``config.yml``, or the folder it lies in.
    """
    load_config = Path(load_config)
    return (load_config if load_config.is_dir() else load_config.parent) / _CACHE_NAME


def open_scene(
    load_config: Path,
    data: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    prepare_config: PrepareConfig | None = None,
    cache_dir: Path | None = None,
) -> tuple[Run, Scene]:
    """Open a run and its scene; nothing is evaluated yet, see ``Scene.prepare``.

    Args:
        load_config: the run's ``config.yml``, or the folder it lies in.
        data: where the images are, if not where the config says.
        device: where the field is evaluated and the loop computes; auto takes a GPU if there is
            one.
        prepare_config: how the scene is prepared; None takes the defaults.
        cache_dir: where scene caches lie; None takes ``default_cache_root``.

    Raises:
        SA3DError: anything about the run that the user has to put right.
    """
    run = open_run(load_config, data=data, device=device)
    cache_root = default_cache_root(load_config) if cache_dir is None else Path(cache_dir)
    return run, Scene(run.field, run.views, cache_root, prepare_config, run.field.device)
