"""What a job has written in its folder, and what of it is to go when the job is run again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from sa3d.export.manifest import manifest_path


def written_places(place: Path, folder: Path) -> list[str]:
    """A file or folder that was exported, its manifest, and the files beside it that belong to it.

    Args:
        folder: the job's own; the paths are relative to it.
    """
    manifest = manifest_path(place)
    files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    places = dict.fromkeys([place, *(place.parent / name for name in files), manifest])
    return [path.relative_to(folder).as_posix() for path in places]


def remove_places(folder: Path, before: Iterable[str], now: Iterable[str]) -> None:
    """Remove what was written before and is not any more; folders that are then empty, too.

    Args:
        folder: the job's own. Nothing outside it is touched.
        before, now: as ``written_places`` tells them.
    """
    root, kept = folder.resolve(), {(folder / one).resolve() for one in now}
    for one in before:
        path = (folder / one).resolve()
        if root not in path.parents or any(path in (new, *new.parents) for new in kept):
            continue
        _remove(path)
        for parent in path.parents:
            if parent == root or not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()


def remove_partial(folder: Path) -> None:
    """Remove what a killed process has left half-written below a job's folder."""
    for path in list(folder.rglob(".partial-*")):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
