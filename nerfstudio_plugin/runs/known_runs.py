"""The runs that this user has opened by name, on this computer.

A segmentation names the run it was made in. The folder may come from a stranger, and with it the
name of a run. So a run that a folder names is opened only if the user has opened it before, by its
path and with the same ``config.yml``. The list is a file of the user's own:
``$XDG_STATE_HOME/sa3d/runs.json``, or ``~/.local/state/sa3d/runs.json``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from sa3d.base.errors import SA3DError
from sa3d.base.json_files import read_json
from sa3d.base.storage import write_json

_MOST = 1000
"""Runs in the list; the oldest are forgotten."""


class UnknownRunError(SA3DError):
    """A segmentation names a run that the user has not opened yet.

    Attributes:
        load_config: the run.
    """

    def __init__(self, folder: Path, load_config: Path) -> None:
        """Name the segmentation and its run."""
        super().__init__(
            f"the segmentation in {folder} was made in a run that was not opened on this computer "
            f"before, {load_config}: if you trust where it comes from, name the run: 'load_config'"
        )
        self.load_config = load_config


def remember_run(load_config: Path) -> None:
    """Add a run that the user named to the list; does nothing if the list cannot be written."""
    path, digest = _identity(load_config)
    known = _read()
    if known.get(path) == digest:
        return
    known.pop(path, None)
    kept = dict([*known.items(), (path, digest)][-_MOST:])
    with contextlib.suppress(SA3DError):
        write_json(_list_path(), {"runs": kept})


def check_known(load_config: Path, folder: Path) -> None:
    """Check that the user has opened a run before, and that its ``config.yml`` is the same.

    A run that is not there passes: it cannot be opened.

    Args:
        load_config: the run that a segmentation names.
        folder: of the segmentation, for the message.

    Raises:
        UnknownRunError: the user has not.
    """
    path, digest = _identity(load_config)
    if digest and _read().get(path) != digest:
        raise UnknownRunError(folder, load_config)


def _identity(load_config: Path) -> tuple[str, str]:
    """Return the resolved path of ``config.yml`` and a hash of it; "" if there is no such file."""
    try:
        path = load_config.resolve()
        path = path / "config.yml" if path.is_dir() else path
        return str(path), hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError, RuntimeError):
        return str(load_config), ""


def _list_path() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(state) / "sa3d" / "runs.json"


def _read() -> dict[str, str]:
    try:
        found = read_json(_list_path())["runs"]
    except (SA3DError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
