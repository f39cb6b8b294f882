"""The step in which finished files take their places: one rename, or a journal of several.

Files are written under names that begin with ``.partial-``, beside their places. One file, or one
folder on a system that can exchange two folders, takes its place in one atomic rename. Several
places need a journal, ``.commit-*.json``: once it is there, whoever works in the folder next
finishes what a killed process began. Before it is there, nothing has happened. Both kinds of names
tell which process made them, so that a living one is left alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sa3d.base.json_files import parse_json

PARTIAL = ".partial-"
"""Begins the names of files and folders that are being written."""
NEW = "new"
"""Name of the finished folder in its scratch folder."""

_JOURNAL = ".commit-"
_OLD = "old"
_OWNER = re.compile(rf"(?:{re.escape(PARTIAL)}|{re.escape(_JOURNAL)})([0-9a-f]{{6}})-(\d+)-")
_SCRATCH = re.compile(rf"{re.escape(PARTIAL)}[^/\\]+(/{NEW})?")
_COMMIT_S = 60.0
"""Seconds after which a journal's process is taken for dead; its renames take milliseconds."""
_LEFT_S = 86_400.0
"""Seconds after which what another computer, or an older version, was writing is a leftover."""
_CANNOT_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV)

_LOG = logging.getLogger("sa3d")


@dataclass(frozen=True)
class Step:
    """A finished file or folder, and its place.

    Attributes:
        new: path of the finished file, or of the folder ``new`` in its scratch folder.
        place: path that it takes; in the same folder.
    """

    new: Path
    place: Path


def scratch_file(folder: Path, suffix: str) -> Path:
    """Make an empty file to write to, beside its place."""
    handle, name = tempfile.mkstemp(prefix=_prefix(PARTIAL), suffix=suffix, dir=folder)
    os.close(handle)
    return Path(name)


def scratch_folder(folder: Path) -> Path:
    """Make an empty folder to write to, beside its place."""
    return Path(tempfile.mkdtemp(prefix=_prefix(PARTIAL), dir=folder))


def is_scratch(path: Path) -> bool:
    """Return whether a path lies in something that is being written."""
    return any(part.startswith(PARTIAL) for part in path.parts)


def flush(path: Path) -> None:
    """Write a file, or a folder and all in it, from the system's memory to the disk."""
    if path.is_symlink():
        return
    if path.is_dir():
        for inner in path.iterdir():
            flush(inner)
        if os.name != "posix":
            return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def commit(steps: Sequence[Step], *, durable: bool = True) -> None:
    """Carry out all steps, in one atomic step or with a journal, and remove what is left over.

    If it fails, nothing has happened; or the journal stays, and ``recover`` finishes it.

    Args:
        steps: with places in one folder.
        durable: also wait until the renames are on the disk.

    Raises:
        OSError: a rename failed, twice if there is a journal.
    """
    folder, journal = steps[0].place.parent, None
    try:
        if len(steps) > 1 or not _in_one_rename(steps[0]):
            inodes = [step.new.lstat().st_ino for step in steps]
            journal = _write_journal(folder, steps)
            try:
                _take_places(steps, inodes)
            except BaseException:
                _take_places(steps, inodes)
                raise
            finally:
                taken = [_inode(s.place) == i for s, i in zip(steps, inodes, strict=True)]
                if all(taken) or not any(taken):
                    journal.unlink()
                    journal = None
        if durable:
            flush_names(folder)
    finally:
        if journal is None:
            discard(steps)


def discard(steps: Sequence[Step]) -> None:
    """Remove the scratch files and folders of steps."""
    for step in steps:
        remove(step.new.parent if step.new.name == NEW else step.new)


def flush_names(folder: Path) -> None:
    """Write a folder's list of names to the disk, where the system can."""
    if os.name == "posix":
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def recover(folder: Path) -> list[Path]:
    """Finish what killed processes began in a folder, and remove what they left.

    Files of others are never touched: only names that this module makes, and places named in a
    journal, which lie in the same folder.

    Returns:
        The places that were finished; each is logged as well.
    """
    try:
        paths = [p for p in folder.iterdir() if p.name.startswith((PARTIAL, _JOURNAL))]
    except OSError:
        return []
    finished: list[Path] = []
    with contextlib.suppress(OSError):  # somebody else may be removing the same leftovers
        for path in sorted(paths):  # journals first
            if not _is_left(path):
                continue
            if path.name.startswith(_JOURNAL):
                finished += _roll_forward(path)
            remove(path)
    for place in finished:
        _LOG.warning("finished an interrupted save of %s", place)
    return finished


def remove(path: Path) -> None:
    """Remove a file, or a folder with all in it; do nothing if it is gone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _in_one_rename(step: Step) -> bool:
    """Carry out a step if one rename does it; return False if nothing was done."""
    if not step.new.is_dir():
        step.new.replace(step.place)
        return True
    try:
        step.place.lstat()
    except FileNotFoundError:
        step.new.rename(step.place)
        return True
    return _exchange(step.new, step.place)


def _take_places(steps: Sequence[Step], inodes: Sequence[int]) -> None:
    for step, inode in zip(steps, inodes, strict=True):
        _take_place(step, inode)


def _take_place(step: Step, inode: int) -> None:
    """Carry out a step, or what is left of it.

    Args:
        step: the step.
        inode: of the finished file or folder, by which it is known wherever it is.
    """
    if _inode(step.place) == inode or _inode(step.new) != inode:
        return  # done, or taken back by whoever failed to write it
    if _in_one_rename(step):
        return
    old = step.new.parent / _OLD
    remove(old)
    step.place.rename(old)
    try:
        step.new.rename(step.place)
    except BaseException:
        old.rename(step.place)
        raise


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except OSError:
        return None


def _write_journal(folder: Path, steps: Sequence[Step]) -> Path:
    content = [
        {
            "new": step.new.relative_to(folder).as_posix(),
            "place": step.place.relative_to(folder).as_posix(),
            "inode": step.new.lstat().st_ino,
        }
        for step in steps
    ]
    written = scratch_file(folder, ".json")
    journal = written.with_name(_JOURNAL + written.name.removeprefix(PARTIAL))
    try:
        written.write_text(json.dumps({"steps": content}), encoding="utf-8")
        flush(written)
        written.rename(journal)
    except BaseException:
        remove(written)
        raise
    flush_names(folder)
    return journal


def _roll_forward(journal: Path) -> list[Path]:
    """Carry out a journal; return the places that were not taken yet."""
    done = []
    for step, inode in _read_journal(journal):
        if _inode(step.place) != inode and _inode(step.new) == inode:
            done.append(step.place)
        elif step.new.name == NEW and _inode(step.place) is None:
            step = Step(step.new.parent / _OLD, step.place)  # the new one is gone
            inode = _inode(step.new) or 0
        _take_place(step, inode)
    return done


def _read_journal(journal: Path) -> Iterator[tuple[Step, int]]:
    """Yield the steps of a journal; a journal is not trusted, so others are skipped."""
    try:
        entries: Any = parse_json(journal.read_bytes())["steps"]
        for entry in entries:
            new, place, inode = entry["new"], entry["place"], entry["inode"]
            if _SCRATCH.fullmatch(new) and _is_plain(place) and isinstance(inode, int):
                yield Step(journal.parent / new, journal.parent / place), inode
    except (OSError, ValueError, LookupError, TypeError):
        return


def _is_plain(name: str) -> bool:
    return Path(name).name == name and name not in ("", ".", "..") and "\\" not in name


def _is_left(path: Path) -> bool:
    """Return whether the process that made a file is dead."""
    owner = _OWNER.match(path.name)
    try:
        age = time.time() - path.lstat().st_mtime
    except OSError:
        return False
    if path.name.startswith(_JOURNAL) and age > _COMMIT_S:
        return True
    if owner is None or owner[1] != _host():
        return age > _LEFT_S
    return not _is_alive(int(owner[2]))


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        return True  # there is no harmless way to ask
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _prefix(kind: str) -> str:
    return f"{kind}{_host()}-{os.getpid()}-"


@cache
def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one atomic step; return False where the system cannot."""
    call = _exchange_call()
    if call is None:
        return False
    if call(os.fsencode(one), os.fsencode(other)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


@cache
def _exchange_call() -> Callable[[bytes, bytes], int] | None:
    """Return the system's call that exchanges two paths; None if it has none."""
    if os.name != "posix":
        return None
    system = ctypes.CDLL(None, use_errno=True)
    here, swap = -100, 2
    if sys.platform == "darwin" and hasattr(system, "renamex_np"):
        return lambda one, other: system.renamex_np(one, other, swap)
    if hasattr(system, "renameat2"):
        return lambda one, other: system.renameat2(here, one, here, other, swap)
    return None
