"""Copies of undamaged files, damage to one of them, and a command that reads it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random

from damage import Damage
from fuzz_tally import Outcome

from sa3d.objects.checkpoint import load_segmentation

Run = Callable[..., tuple[int, str, str]]
"""``CommandLine.run``: exit code, stdout and stderr."""
Result = Callable[[Path], str]
"""Hash of what a command made in a folder."""


def outcome(
    run: Run,
    command: Sequence[object],
    result: Callable[[], str],
    expected: str,
    *,
    users_file: bool,
) -> Outcome:
    """Run a command on damaged files and judge it.

    Args:
        run: runs ``sa3d``.
        command: its arguments.
        result: hash of what the command made.
        expected: that hash without damage.
        users_file: the damaged file is the user's own input: another result is right.
    """
    code, _, err = run(*command)
    lines = err.strip().splitlines()
    if code == 2 and len(lines) == 1 and lines[0].startswith("error: "):
        return "one clear line"
    if code != 0:
        raise AssertionError(f"exit code {code}: {err}")
    if result() == expected:
        return "healed"
    return "other input" if users_file else "silently wrong"


def files_below(*places: Path) -> dict[Path, bytes]:
    """Return the content of all files below folders."""
    found: dict[Path, bytes] = {}
    for place in places:
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file():
                found[path] = path.read_bytes()
    return found


def hash_of(paths: Iterable[Path], root: Path) -> str:
    """Return a hash of files' names and contents."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def pictures_hash(folder: Path) -> str:
    """Return a hash of all PNG files below a folder."""
    return hash_of(folder.rglob("*.png"), folder)


def segmentation_hash(folder: Path) -> str:
    """Return a hash of a saved segmentation's labels, evidence, masks and prompts."""
    found = load_segmentation(folder).segmentation
    digest = hashlib.sha256(found.labels().numpy().tobytes())
    for name, one in found.objects.items():
        digest.update(name.encode())
        digest.update(one.evidence.object.numpy().tobytes() + one.evidence.total.numpy().tobytes())
        digest.update(repr([prompt.to_json() for prompt in one.prompts]).encode())
        for index, record in one.views.items():
            mask = b"" if record.mask is None else record.mask.tobytes()
            digest.update(f"{index} {record.outcome}".encode() + mask)
    return digest.hexdigest()


class Workplace:
    """Makes copies of a folder of undamaged files, and tries commands on them."""

    def __init__(self, source: Path, run: Run) -> None:
        self._source, self._run = source, run
        self._expected: dict[tuple[str, ...], str] = {}

    def copy_to(self, place: Path) -> None:
        """Copy the files to a folder, and go there."""
        shutil.copytree(self._source, place, dirs_exist_ok=True)
        os.chdir(place)

    def expected(self, command: Sequence[str], result: Result, scratch: Path) -> str:
        """Return the hash of what a command makes without damage."""
        key = tuple(command)
        if key not in self._expected:
            place = Path(tempfile.mkdtemp(prefix="undamaged-", dir=scratch))
            self.copy_to(place)
            code, _, err = self._run(*command)
            assert code == 0, err
            self._expected[key] = result(place)
        return self._expected[key]

    def trial(
        self,
        pattern: str,
        spoil: Damage,
        command: Sequence[str],
        result: Result,
        *,
        users_file: bool = False,
        writes: Sequence[str] = (),
    ) -> Callable[[Random, Path], Outcome]:
        """Return a trial: copy, damage one file, run a command, judge.

        Args:
            pattern: glob of the files to damage.
            spoil: the damage.
            command: reads the files.
            result: hash of what the command makes.
            users_file: see ``outcome``.
            writes: names of what the command may change in the folder.
        """

        def trial(random: Random, place: Path) -> Outcome:
            expected = self.expected(command, result, place.parent)
            self.copy_to(place)
            spoil(random, random.choice(sorted(place.glob(pattern))))
            kept = [one for one in place.iterdir() if one.name not in writes]
            before = files_below(*kept)
            found = outcome(
                self._run, command, lambda: result(place), expected, users_file=users_file
            )
            return "lost" if files_below(*kept) != before else found

        return trial
