"""Finds a run's files by their names: ``config.yml`` in a folder, the step of a checkpoint."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

from sa3d.base.errors import SA3DError

_LOG = logging.getLogger(__name__)
_NAME = "config.yml"
_CHECKPOINT = re.compile(r"step-([0-9]{1,18})\.ckpt")
_DEEPEST = 3
"""Folders of ns-train below its output folder: experiment, method, time."""
_NOT_TRAINED = "sa3d"
"""The method whose runs are segmentations: they are no fields to segment in."""


def find_config(path: Path) -> Path:
    """Return a run's ``config.yml``: the file itself, that of a folder, or the newest below it.

    ns-train writes ``outputs/EXPERIMENT/METHOD/TIME/config.yml``; any of these folders may be
    named. If several runs are below it, a line of the log says which one was taken.

    Args:
        path: a file, which need not exist, or a folder.

    Raises:
        SA3DError: the folder has no run in it.
    """
    if not path.is_dir():
        return path
    if (path / _NAME).is_file():
        return path / _NAME
    below = [
        file
        for depth in range(1, _DEEPEST + 1)
        for file in path.glob("*/" * depth + _NAME)
        if file.is_file() and file.parent.parent.name != _NOT_TRAINED
    ]
    if not below:
        raise SA3DError(
            f"no trained run in {path}: name its config.yml, which ns-train printed when the "
            "training ended, or a folder that holds it"
        )
    newest = max(below, key=_written)
    if len(below) > 1:
        _LOG.warning("%s has %d runs; opening the newest, %s", path, len(below), newest)
    return newest


def checkpoint_step(name: str) -> int | None:
    """Return the training step in the name of a checkpoint file; None if it names none."""
    match = _CHECKPOINT.fullmatch(name)
    return int(match[1]) if match else None


def _written(config: Path) -> float:
    """Return when a run began: the time that names its folder, which copying keeps, in seconds."""
    try:
        return time.mktime(time.strptime(config.parent.name, "%Y-%m-%d_%H%M%S"))
    except (ValueError, OverflowError):
        return config.stat().st_mtime
