"""A file system that fails, or a process that dies, at the n-th change to the disk."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import sa3d.base.transaction

_CALLS = ("replace", "rename", "mkdir", "unlink", "rmdir", "fsync", "link", "symlink", "truncate")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Disk:
    """Counts the changes to the disk, and calls ``failure`` instead of change number ``at``."""

    def __init__(self, at: int, failure: Callable[[], object]) -> None:
        self.count, self._at, self._failure = 0, at, failure

    def change(self) -> None:
        """Count a change that is about to be made."""
        self.count += 1
        if self.count == self._at:
            self._failure()


def disk_is_full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def process_dies() -> None:
    """End the process as ``kill -9`` does: nothing is cleaned up."""
    os._exit(9)


@contextmanager
def failing_disk(at: int, failure: Callable[[], object] = disk_is_full) -> Iterator[Disk]:
    """Let change number ``at`` of the block fail; 0 fails none, and counts."""
    disk = Disk(at, failure)

    def counted(call: Callable[..., Any], writes: Callable[..., bool]) -> Callable[..., Any]:
        def changed(*args: Any, **options: Any) -> Any:
            if writes(*args, **options):
                disk.change()
            return call(*args, **options)

        return changed

    def always(*_: Any, **__: Any) -> bool:
        return True

    def opens_to_write(_: Any, mode: Any = "r", *__: Any, **options: Any) -> bool:
        return isinstance(mode, str) and bool(set(mode) & set("wax+"))

    def has_writing_flags(_: Any, flags: int, *__: Any, **options: Any) -> bool:
        return bool(flags & _WRITES)

    with pytest.MonkeyPatch.context() as patch:
        for name in _CALLS:
            patch.setattr(os, name, counted(getattr(os, name), always))
        patch.setattr(os, "open", counted(os.open, has_writing_flags))
        patch.setattr(io, "open", counted(io.open, opens_to_write))
        patch.setattr(builtins, "open", io.open)
        exchange = sa3d.base.transaction._exchange
        patch.setattr(sa3d.base.transaction, "_exchange", counted(exchange, always))
        yield disk


def in_a_child(act: Callable[[], object], at: int) -> bool:
    """Run something in a process of its own that dies at a change; return whether it died."""
    process = os.fork()
    if process == 0:
        with failing_disk(at, process_dies):
            act()
        os._exit(0)
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9), code
    return code == 9
