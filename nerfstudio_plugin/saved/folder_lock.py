"""A lock per folder of a segmentation, so that no two programs change it at once.

The lock is a hidden file beside the folder, since the folder itself is replaced at every change.
The system releases it when its process ends, in whatever way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sa3d.base.errors import SA3DError


@contextmanager
def locked(
    folder: Path, *, wait: bool = True, say: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the lock of a folder in the block; a block inside a block of this thread passes.

    Args:
        folder: of the segmentation; it need not exist.
        wait: wait for another program that holds it.
        say: called with a sentence if there is one to wait for.

    Raises:
        SA3DError: another program holds it and ``wait`` is False; or there can be no lock there.
    """
    place = Path(os.path.realpath(folder))
    path = place.with_name(f".{place.name}.lock")
    busy = f"another sa3d is writing {folder}"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, is_singleton=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise SA3DError(f"{busy}: wait until it is done, or give another folder") from None
            if say is not None:
                say(f"{busy}: waiting until it is done")
            lock.acquire()
    except (OSError, ValueError) as error:
        raise SA3DError(
            f"cannot write {folder}: {getattr(error, 'strerror', None) or error}"
        ) from error
    try:
        yield
    finally:
        if lock.lock_counter == 1 and os.name == "posix":
            path.unlink(missing_ok=True)  # filelock 4.2 notices a file that was unlinked meanwhile
        lock.release()
