"""Atomic file writes: files and folders are written beside their place, then renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sa3d.base.errors import SA3DError

_OR_OVERWRITE = "or set overwrite=True to replace it"


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path, which replaces ``path`` when the block succeeds.

    The temporary file lies in the same folder and has the same suffix. On any failure, Ctrl-C
    included, it is removed and ``path`` is unchanged.

    Raises:
        SA3DError: the disk is full or the folder is not writable.

    Example:
        >>> with atomic_path(Path("out/box.json")) as temporary:
        ...     temporary.write_text(json.dumps(box))
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


@contextlib.contextmanager
def atomic_folder(
    path: Path, *, overwrite: bool, may_delete: Callable[[Path], bool]
) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``, which replaces ``path`` when the block succeeds.

    On any failure, Ctrl-C included, the temporary folder is removed and ``path`` is unchanged.

    Args:
        overwrite: replace an existing folder.
        may_delete: returns whether an entry of an existing folder may be deleted. A folder with
            any other entry is never replaced.

    Raises:
        SA3DError: ``path`` exists and may not be replaced, the disk is full, or the folder is not
            writable.
    """
    check_new_folder(path, overwrite, may_delete)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".partial-", dir=path.parent))
    except OSError as error:
        raise _writing_failed(path, error) from error
    try:
        content = temporary / "new"
        content.mkdir()
        yield content
        if path.exists():
            path.rename(temporary / "old")
        try:
            content.rename(path)
        except BaseException:
            if (temporary / "old").exists():
                (temporary / "old").rename(path)
            raise
    except OSError as error:
        raise _writing_failed(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_new_file(path: Path, overwrite: bool) -> None:
    """Check that a file may be written, before any work is done.

    Raises:
        SA3DError: the file exists and ``overwrite`` is False, or the path is a folder.
    """
    if path.is_dir():
        raise SA3DError(f"{path} is a folder: give the name of a file")
    if path.exists() and not overwrite:
        raise SA3DError(f"{path} exists: give another name, {_OR_OVERWRITE}")


def check_new_folder(path: Path, overwrite: bool, may_delete: Callable[[Path], bool]) -> None:
    """Check that ``atomic_folder`` may write a folder, before any work is done.

    Raises:
        SA3DError: the folder is not empty and may not be replaced, or the path is a file.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise SA3DError(f"{path} is a file: give the name of a folder")
    entries = list(path.iterdir())
    if entries and not overwrite:
        raise SA3DError(f"{path} exists: give another folder, {_OR_OVERWRITE}")
    foreign = [entry.name for entry in entries if not may_delete(entry)]
    if foreign:
        raise SA3DError(
            f"{path} holds other files ({foreign[0]}) and is not replaced: give another folder"
        )


def _writing_failed(path: Path, error: OSError) -> SA3DError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SA3DError(f"the disk is full: {path} was not written; finished files are kept")
    return SA3DError(f"cannot write {path}: {error.strerror or error}")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically; values that JSON cannot represent are written as text.

    Raises:
        SA3DError: the disk is full or the folder not writable.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
