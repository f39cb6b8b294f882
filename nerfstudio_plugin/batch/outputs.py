"""Lists the files that a job wrote to its folder, and removes those no longer wanted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sa3d.base.json_files import read_json
from sa3d.base.transaction import PARTIAL, remove
from sa3d.export.manifest import manifest_path


def written_places(place: Path, folder: Path) -> list[str]:
    """Return the paths of an export: the file or folder, its manifest, and files beside it.

    Args:
        place: the exported file or folder.
        folder: the job's own; the paths are relative to it.
    """
    manifest = manifest_path(place)
    files = read_json(manifest)["files"]
    places = dict.fromkeys([place, *(place.parent / name for name in files), manifest])
    return [path.relative_to(folder).as_posix() for path in places]


def remove_places(folder: Path, before: Iterable[str], current: Iterable[str]) -> None:
    """Remove files that an earlier run wrote and this one did not; also folders left empty.

    Args:
        folder: the job's own. Nothing outside it is removed.
        before: paths that earlier runs wrote, as ``written_places`` returns them.
        current: paths that this run wrote.
    """
    root, kept = folder.resolve(), {(folder / one).resolve() for one in current}
    for one in before:
        path = (folder / one).resolve()
        if root not in path.parents or any(path in (new, *new.parents) for new in kept):
            continue
        remove(path)
        for parent in path.parents:
            if parent == root or not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()


def remove_partial(folder: Path) -> None:
    """Remove partly written files that a killed process left below a job's folder."""
    for path in list(folder.rglob(f"{PARTIAL}*")):
        remove(path)
