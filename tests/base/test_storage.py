from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

import sa3d.base.transaction
from sa3d.base.errors import SA3DError
from sa3d.base.storage import (
    atomic_folder,
    atomic_path,
    check_new_file,
    write_json,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_after(path: Path, failure: type[BaseException]) -> None:
    path.write_text("half")
    raise failure


def anything(entry: Path) -> bool:
    return True


def test_a_file_appears_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with atomic_path(path) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failed_write_changes_nothing(tmp_path: Path, failure: type[BaseException]) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(failure), atomic_path(tmp_path / "a.txt") as temporary:
        fail_after(temporary, failure)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SA3DError, match="cannot write"), atomic_path(tmp_path / "file" / "a.txt"):
        pass


def test_a_folder_is_replaced_completely(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out"
    for content in ("one", "two"):
        with atomic_folder(path, overwrite=True, may_delete=anything) as temporary:
            (temporary / f"{content}.txt").write_text(content)
        assert names(path) == [f"{content}.txt"]
    assert names(path.parent) == ["out"]


def test_an_empty_folder_needs_no_overwrite(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out", overwrite=False, may_delete=anything) as temporary:
        (temporary / "a.txt").write_text("a")
    assert names(tmp_path / "out") == ["a.txt"]


def test_folders_that_may_not_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("a")
    (tmp_path / "file").write_text("f")
    for path, overwrite, may_delete, message in (
        (tmp_path / "out", False, anything, "overwrite=True"),
        (tmp_path / "out", True, lambda entry: False, "holds other files"),
        (tmp_path / "file", True, anything, "is a file"),
    ):
        with (
            pytest.raises(SA3DError, match=message),
            atomic_folder(path, overwrite=overwrite, may_delete=may_delete),
        ):
            pytest.fail("the block must not run")
    assert names(tmp_path) == ["file", "out"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failed_folder_write_changes_nothing(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("old")
    for path in (tmp_path / "out", tmp_path / "other"):
        with (
            pytest.raises(failure),
            atomic_folder(path, overwrite=True, may_delete=anything) as temporary,
        ):
            fail_after(temporary / "a.txt", failure)
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a.txt").read_text() == "old"


def test_the_old_folder_is_restored_if_the_last_step_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("old")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(sa3d.base.transaction, "_exchange_call", lambda: None)
    monkeypatch.setattr(Path, "rename", failing)
    with (
        pytest.raises(SA3DError, match="Input/output error"),
        atomic_folder(tmp_path / "out", overwrite=True, may_delete=anything),
    ):
        pass
    assert (tmp_path / "out" / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_existing_files_need_overwrite(tmp_path: Path) -> None:
    check_new_file(tmp_path / "a.ply", overwrite=False)
    (tmp_path / "a.ply").write_text("a")
    check_new_file(tmp_path / "a.ply", overwrite=True)
    with pytest.raises(SA3DError, match="overwrite=True"):
        check_new_file(tmp_path / "a.ply", overwrite=False)
    with pytest.raises(SA3DError, match="is a folder"):
        check_new_file(tmp_path, overwrite=True)


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "new/report.json"
    write_json(file, {"folder": tmp_path, "views": [1, 2]})
    assert json.loads(file.read_text()) == {"folder": str(tmp_path), "views": [1, 2]}
    circle: dict[str, object] = {}
    circle["itself"] = circle
    with pytest.raises(ValueError, match="Circular"):
        write_json(file, circle)
    assert json.loads(file.read_text())["views"] == [1, 2]
    assert names(file.parent) == ["report.json"]
