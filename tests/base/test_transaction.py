"""A kill, or a failure, at every change to the disk: everything or nothing, and no litter."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from failing_disk import failing_disk, in_a_child

import sa3d.base.storage
from sa3d.base import transaction
from sa3d.base.errors import SA3DError
from sa3d.base.storage import all_or_none, atomic_folder, atomic_path
from sa3d.base.transaction import recover

Write = Callable[[Path, str], None]


def write_file(folder: Path, text: str) -> None:
    with atomic_path(folder / "a.txt") as temporary:
        temporary.write_text(text)


def write_folder(folder: Path, text: str) -> None:
    with atomic_folder(folder / "out", overwrite=True, may_delete=lambda _: True) as new:
        (new / "a.txt").write_text(text)
        with atomic_path(new / "deep" / "b.txt") as temporary:
            temporary.write_text(text)


def write_set(folder: Path, text: str) -> None:
    with all_or_none():
        for name in ("a.obj", "a.mtl", "a.png"):
            with atomic_path(folder / name) as temporary:
                temporary.write_text(text)
        write_folder(folder, text)


WRITES = [write_file, write_folder, write_set]


@pytest.fixture(params=[True, False], ids=["exchange", "journal"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's exchange of folders, and on a system that has none."""
    if not request.param:
        monkeypatch.setattr(transaction, "_exchange_call", lambda: None)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sa3d.base.storage, "_RECOVERED", set())


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def changes_of(write: Write, folder: Path) -> int:
    with failing_disk(0) as disk:
        write(folder, "count")
    return disk.count


@pytest.mark.usefixtures("exchange")
@pytest.mark.parametrize("write", WRITES)
def test_a_kill_at_every_change_gives_the_old_or_the_new(write: Write, tmp_path: Path) -> None:
    write(tmp_path, "old")
    old, seen = content(tmp_path), set()
    new = dict.fromkeys(old, "new")
    for at in range(1, 200):
        died = in_a_child(lambda: write(tmp_path, "new"), at)
        recover(tmp_path)
        found = content(tmp_path)
        assert found in (old, new), at
        seen.add(json.dumps(found))
        write(tmp_path, "old")
        assert content(tmp_path) == old
        if not died:
            break
    assert not died
    assert at > 5
    assert len(seen) == 2


@pytest.mark.usefixtures("exchange")
@pytest.mark.parametrize("write", WRITES)
def test_a_failure_at_every_change_gives_the_old_or_the_new(write: Write, tmp_path: Path) -> None:
    write(tmp_path, "old")
    old, errors = content(tmp_path), []
    for at in range(1, changes_of(write, tmp_path) + 1):
        write(tmp_path, "old")
        try:
            with failing_disk(at):
                write(tmp_path, "new")
        except SA3DError as error:
            errors.append(str(error))
        recover(tmp_path)
        found = {
            name: text
            for name, text in content(tmp_path).items()
            if not name.startswith((".partial", ".commit"))
        }
        assert found in (old, dict.fromkeys(old, "new")), at
    assert len(errors) > 3
    for error in errors:
        assert "the disk is full" in error
        assert ".partial" not in error
        assert str(tmp_path) in error


@pytest.mark.usefixtures("exchange")
def test_a_folder_is_there_at_every_moment_or_recovered(tmp_path: Path) -> None:
    write_folder(tmp_path, "old")
    recovered = []
    for at in range(1, changes_of(write_folder, tmp_path) + 1):
        in_a_child(lambda: write_folder(tmp_path, "new"), at)
        if not (tmp_path / "out").exists():
            recovered += recover(tmp_path)
        assert (tmp_path / "out/a.txt").read_text() in ("count", "new")
        assert (tmp_path / "out/deep/b.txt").read_text() in ("count", "new")
    without_exchange = transaction._exchange_call() is None
    assert bool(recovered) is without_exchange
    assert all(place == tmp_path / "out" for place in recovered)


def test_what_was_recovered_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(transaction, "_exchange_call", lambda: None)
    write_folder(tmp_path, "old")
    for at in range(1, 100):
        assert in_a_child(lambda: write_folder(tmp_path, "new"), at)
        if not (tmp_path / "out").exists():
            break
    write_file(tmp_path, "x")  # whoever writes there finds it
    assert (tmp_path / "out/a.txt").read_text() == "new"
    assert caplog.messages == [f"finished an interrupted save of {tmp_path / 'out'}"]


def test_files_of_others_and_of_the_living_stay(tmp_path: Path) -> None:
    mine = transaction.scratch_file(tmp_path, ".txt")
    others = [".partial-theirs", ".commit-theirs.json", "partial-x", f".partial-abcdef-{2**22}-x"]
    for name in others:
        (tmp_path / name).write_text("x")
    assert recover(tmp_path) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([mine.name, *others])
    ended = time.time() - 2 * 86_400
    for name in others:
        os.utime(tmp_path / name, (ended, ended))
    os.utime(mine, (ended, ended))
    recover(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([mine.name, "partial-x"])


@pytest.mark.parametrize(
    ("new", "place"),
    [
        ("../secret", "out"),
        (".partial-x", "../out"),
        ("secret", "out"),
        (".partial-x/../secret", "out"),
        (".partial-x", ""),
        (".partial-x", "a/b"),
        (".partial-x", "/out"),
        (3, "out"),
    ],
)
def test_a_journal_of_a_stranger_moves_nothing_else(
    tmp_path: Path, new: object, place: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    (folder / "secret").write_text("secret")
    (folder / ".partial-x").write_text("x")
    before = content(tmp_path)
    inode = (folder / "secret").stat().st_ino
    journal = folder / ".commit-x.json"
    journal.write_text(json.dumps({"steps": [{"new": new, "place": place, "inode": inode}]}))
    os.utime(journal, (0, 0))
    assert recover(folder) == []
    assert content(tmp_path) == before


def test_links_stay_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write_folder(tmp_path / "real", "old")
    (tmp_path / "linked").symlink_to("real/out")
    with atomic_folder(tmp_path / "linked", overwrite=True, may_delete=lambda _: True) as new:
        (new / "c.txt").write_text("new")
    assert (tmp_path / "linked").is_symlink()
    assert content(tmp_path / "real/out") == {"c.txt": "new"}
    (tmp_path / "link.txt").symlink_to("real/file.txt")
    with atomic_path(tmp_path / "link.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real/file.txt").read_text() == "new"


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "\ud800", "loop/out", "file/out", "\udcff\0"])
def test_names_that_cannot_be_are_one_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("x")
    for write in (
        lambda: atomic_path(tmp_path / name),
        lambda: atomic_folder(tmp_path / name, overwrite=True, may_delete=lambda _: True),
    ):
        with pytest.raises(SA3DError, match="cannot write"), write():
            pytest.fail("the block must not run")


def test_litter_of_file_managers_does_not_block(tmp_path: Path) -> None:
    write_folder(tmp_path, "old")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.txt", ".partial-abc"):
        (tmp_path / "out" / name).write_text("x")
    with atomic_folder(
        tmp_path / "out", overwrite=True, may_delete=lambda p: p.suffix == ".txt" or p.is_dir()
    ) as new:
        (new / "a.txt").write_text("new")
    assert content(tmp_path / "out") == {"a.txt": "new"}


def test_a_set_that_fails_leaves_nothing(tmp_path: Path) -> None:
    write_set(tmp_path, "old")
    before = content(tmp_path)

    def stopped() -> None:
        with all_or_none():
            write_folder(tmp_path, "new")
            write_file(tmp_path, "new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert content(tmp_path) == before
    assert not list(tmp_path.glob(".*"))
