"""Atomic file writes: files and folders are written beside their place, then renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sa3d.base.errors import SA3DError
from sa3d.base.transaction import (
    NEW,
    PARTIAL,
    Step,
    commit,
    discard,
    flush,
    is_scratch,
    recover,
    remove,
    scratch_file,
    scratch_folder,
)

_OR_OVERWRITE = "or set overwrite=True to replace it"
_FILE_MANAGERS = (".DS_Store", "Thumbs.db", "desktop.ini", ".directory")
"""Files that file managers leave in folders that somebody has looked at."""
_FULL = (errno.ENOSPC, errno.EDQUOT)

_WRITING: dict[Path, Path] = {}
"""Scratch folders, and the places of what is written in them: messages name the place."""
_RECOVERED: set[Path] = set()
"""Folders in which this process has looked for what others left."""
_TOGETHER: ContextVar[list[Step] | None] = ContextVar("together", default=None)


@contextlib.contextmanager
def all_or_none() -> Iterator[None]:
    """Let all that is written atomically in the block take its place at the block's end, at once.

    If the block fails, nothing takes its place. If the process is killed at the end, the next one
    that works in the folder finishes it. What lies in different folders is one step per folder.

    Example:
        >>> with all_or_none():
        ...     write_mesh(Path("mug.obj"), mesh)
        ...     write_manifest(Path("mug.obj"), "mesh", segmentation, ["mug"], source)

    Raises:
        SA3DError: the disk is full or the folder is not writable.
    """
    if _TOGETHER.get() is not None:
        yield
        return
    steps: list[Step] = []
    token = _TOGETHER.set(steps)
    try:
        yield
    except BaseException:
        discard(steps)
        raise
    finally:
        _TOGETHER.reset(token)
    folders = list(dict.fromkeys(step.place.parent for step in steps))
    try:
        while folders:
            here = [step for step in steps if step.place.parent == folders[0]]
            with _named(here[0].place):
                commit(here)
            del folders[0]
    finally:
        discard([step for step in steps if step.place.parent in folders[1:]])


@contextlib.contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path, which replaces ``path`` when the block succeeds.

    The temporary file lies in the same folder and has the same suffix. On any failure, Ctrl-C
    included, it is removed and ``path`` is unchanged. A link stays a link to the new file.

    Args:
        path: of the file.
        durable: wait until the file is on the disk, so that it survives a failure of power.

    Raises:
        SA3DError: the disk is full or the folder is not writable.

    Example:
        >>> with atomic_path(Path("out/box.json")) as temporary:
        ...     temporary.write_text(json.dumps(box))
    """
    with _named(path):
        place = _prepared_place(path, look=durable)
        temporary = scratch_file(place.parent, place.suffix)
    taken = False
    try:
        with _written(path):
            yield temporary
            temporary.chmod(0o644)
            if is_scratch(place):  # in a folder that takes its place as a whole
                temporary.replace(place)
            else:
                if durable:
                    flush(temporary)
                taken = True
                _take_place(Step(temporary, place), durable=durable)
    finally:
        if not taken:
            remove(temporary)


@contextlib.contextmanager
def atomic_folder(
    path: Path, *, overwrite: bool, may_delete: Callable[[Path], bool]
) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``, which replaces ``path`` when the block succeeds.

    On any failure, Ctrl-C included, the temporary folder is removed and ``path`` is unchanged. The
    old and the new folder are exchanged in one step, so that one of them is always there. A link
    stays a link to the new folder.

    Args:
        path: of the folder.
        overwrite: replace an existing folder.
        may_delete: returns whether an entry of an existing folder may be deleted. A folder with
            any other entry is never replaced.

    Raises:
        SA3DError: ``path`` exists and may not be replaced, the disk is full, or the folder is not
            writable.
    """
    check_new_folder(path, overwrite, may_delete)
    with _named(path):
        place = _prepared_place(path, look=True)
        scratch = scratch_folder(place.parent)
    content, taken = scratch / "writing", False
    _WRITING[content] = path
    try:
        with _written(path):
            content.mkdir()
            yield content
            flush(content)
            content.rename(scratch / NEW)
            taken = True
            _take_place(Step(scratch / NEW, place))
    finally:
        del _WRITING[content]
        if not taken:
            remove(scratch)


def _prepared_place(path: Path, *, look: bool) -> Path:
    """Return the path behind links, in a folder that exists and holds no leftovers.

    Args:
        path: to be written.
        look: look for leftovers even if this process has done so before.

    Raises:
        OSError, ValueError: there can be no such path.
    """
    place = Path(os.path.realpath(path))
    place.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        place.lstat()  # the names of scratch files are shorter
    if (look or place.parent not in _RECOVERED) and not is_scratch(place):
        _RECOVERED.add(place.parent)
        recover(place.parent)
    return place


def _take_place(step: Step, *, durable: bool = True) -> None:
    """Carry out a step now, or at the end of ``all_or_none``."""
    steps = _TOGETHER.get()
    if steps is None:
        commit([step], durable=durable)
    else:
        steps.append(step)


def check_new_file(path: Path, overwrite: bool) -> None:
    """Check that a file may be written, before any work is done.

    Raises:
        SA3DError: the file exists and ``overwrite`` is False, or the path is a folder, or cannot
            be looked at.
    """
    with _named(path):
        if path.is_dir():
            raise SA3DError(f"{path} is a folder: give the name of a file")
        if path.exists() and not overwrite:
            raise SA3DError(f"{path} exists: give another name, {_OR_OVERWRITE}")


def check_new_folder(path: Path, overwrite: bool, may_delete: Callable[[Path], bool]) -> None:
    """Check that ``atomic_folder`` may write a folder, before any work is done.

    What file managers and killed processes leave in folders does not count.

    Raises:
        SA3DError: the folder is not empty and may not be replaced, or the path is a file, or cannot
            be looked at.
    """
    with _named(path):
        if not path.exists():
            return
        if not path.is_dir():
            raise SA3DError(f"{path} is a file: give the name of a folder")
        entries = [entry for entry in path.iterdir() if not _is_litter(entry)]
    if entries and not overwrite:
        raise SA3DError(f"{path} exists: give another folder, {_OR_OVERWRITE}")
    foreign = [entry.name for entry in entries if not may_delete(entry)]
    if foreign:
        raise SA3DError(
            f"{path} holds other files ({foreign[0]}) and is not replaced: give another folder"
        )


def _is_litter(entry: Path) -> bool:
    return entry.name in _FILE_MANAGERS or entry.name.startswith(("._", PARTIAL))


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn errors of the file system into one that names a path and the remedy."""
    try:
        yield
    except (OSError, ValueError) as error:  # a name that no file system has is a ValueError
        raise _writing_failed(path, error) from error


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turn errors of writing a file into one that names it and the remedy; others pass."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, OSError) or _is_of_torch_save(error):
            raise _writing_failed(path, error) from error
        raise


def _writing_failed(path: Path, error: Exception) -> SA3DError:
    for scratch, place in _WRITING.items():
        if path.is_relative_to(scratch):
            path = place / path.relative_to(scratch)
    if (isinstance(error, OSError) and error.errno in _FULL) or _is_of_torch_save(error):
        return SA3DError(f"the disk is full: {path} was not written; finished files are kept")
    reason = error.strerror if isinstance(error, OSError) else None
    return SA3DError(f"cannot write {path}: {reason or error}")


def _is_of_torch_save(error: Exception) -> bool:
    """Return whether torch could not write a file; it does not say why, and a full disk is why."""
    return isinstance(error, RuntimeError) and "PytorchStreamWriter" in str(error)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically; values that JSON cannot represent are written as text.

    Raises:
        SA3DError: the disk is full or the folder not writable.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
