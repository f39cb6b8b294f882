"""Files that are whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from sa3d.errors import SA3DError


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path (same folder, same suffix) that becomes ``path`` when the block succeeds.

    On any failure, Ctrl-C included, the temporary file is removed and ``path`` is untouched.

    Raises:
        SA3DError: the disk is full or the folder not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".partial-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise _writing_failed(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise _writing_failed(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _writing_failed(path: Path, error: OSError) -> SA3DError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SA3DError(f"the disk is full: {path} was not written; what was finished is kept")
    return SA3DError(f"cannot write {path}: {error.strerror or error}")


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an uncompressed ``.npz`` atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **dict(arrays))


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a ``.npz`` whole.

    Raises:
        SA3DError: missing, truncated or no such file format.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise SA3DError(f"cannot read {path}: {error}") from error
