from __future__ import annotations

import errno
import gc
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sa3d.base import array_files
from sa3d.base.array_files import ascending, load_arrays, save_arrays
from sa3d.base.errors import SA3DError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_arrays(tmp_path / "a.npz", {"x": np.zeros(3)})

    def full(file, array: np.ndarray, **_: object) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(SA3DError, match="the disk is full"):
        save_arrays(tmp_path / "a.npz", {"x": np.ones(3)})
    assert names(tmp_path) == ["a.npz"]
    assert load_arrays(tmp_path / "a.npz")["x"].tolist() == [0, 0, 0]


def test_arrays_round_trip(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.int32).reshape(2, 3), "b": np.array([0.5], np.float16)}
    save_arrays(tmp_path / "a.npz", arrays)
    loaded = load_arrays(tmp_path / "a.npz")
    assert loaded.keys() == arrays.keys()
    for name, values in arrays.items():
        assert loaded[name].dtype == values.dtype
        np.testing.assert_array_equal(loaded[name], values)


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_damaged_arrays(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.npz"
    save_arrays(path, {"x": np.zeros(1000)})
    path.write_bytes(path.read_bytes()[:900] if content is None else content)
    with pytest.raises(SA3DError, match="cannot read"):
        load_arrays(path)


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([print], dtype=object))
    with pytest.raises(SA3DError, match="cannot read"):
        load_arrays(tmp_path / "a.npz")


def test_an_interrupted_write_leaves_no_file_and_no_warning(tmp_path: Path) -> None:
    class Interrupted:
        def __array__(self, *_: object, **__: object) -> np.ndarray:
            raise KeyboardInterrupt

    arrays: dict = {"one": np.arange(3), "two": Interrupted()}
    for compress in (False, True):
        with pytest.raises(KeyboardInterrupt):
            save_arrays(tmp_path / "x.npz", arrays, compress=compress)
    gc.collect()  # an archive left open would warn now, and warnings are errors
    assert list(tmp_path.iterdir()) == []
    save_arrays(tmp_path / "x.npz", {"one": np.arange(3)}, compress=True)
    with np.load(tmp_path / "x.npz") as stored:
        np.testing.assert_array_equal(stored["one"], [0, 1, 2])


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def refused(path: Path, members: dict[str, bytes], message: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(SA3DError, match=message):
        load_arrays(path)


def test_arrays_belong_to_what_they_were_saved_for(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_arrays(path, {"x": np.arange(3)}, belongs_to="view 1")
    assert load_arrays(path, belongs_to="view 1").keys() == {"x"}
    assert load_arrays(path, {"x": ("int64", (3,))}, belongs_to="view 1").keys() == {"x"}
    with pytest.raises(SA3DError, match="belongs to something else"):
        load_arrays(path, belongs_to="view 2")
    save_arrays(path, {"x": np.arange(3)})
    with pytest.raises(SA3DError, match="lacks the array 'belongs_to'"):
        load_arrays(path, belongs_to="view 1")


def test_kinds_of_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_arrays(path, {"x": np.zeros((2, 3), np.float32), "y": np.arange(3), "z": np.zeros(9)})
    good = {"x": ("float32", (None, "N")), "y": ("int64", ("N",))}
    assert list(load_arrays(path, good)) == ["x", "y"]
    assert list(load_arrays(path, good, {"z": ("", (9,)), "other": ("", ())})) == ["x", "y", "z"]
    for wrong, message in (
        ({"a": ("", ())}, "lacks the array 'a'"),
        ({"x": ("float64", (2, 3))}, r"'x' in it is float32 \[2, 3\], not float64 \[2, 3\]"),
        ({"x": ("float32", (2,))}, r"not float32 \[2\]"),
        ({"x": ("float32", (2, 4))}, r"not float32 \[2, 4\]"),
        ({"x": ("", ("N", "N"))}, r"'x' in it is float32 \[2, 3\]"),
        ({"x": ("", ("N", None)), "y": ("", ("N",))}, r"'y' in it is int64 \[3\], not  \[2\]"),
    ):
        with pytest.raises(SA3DError, match=message):
            load_arrays(path, wrong)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floats_are_finite(tmp_path: Path, value: float) -> None:
    for kind in (np.float16, np.float32, np.float64):
        save_arrays(tmp_path / "a.npz", {"x": np.array([0, value], kind)})
        with pytest.raises(SA3DError, match="'x' in it has values not finite"):
            load_arrays(tmp_path / "a.npz")


def test_ascending() -> None:
    assert ascending(np.array([], int), 0)
    assert ascending(np.array([0, 1, 5]), 6)
    for wrong in ([0, 5], [-1, 2], [1, 1], [2, 1]):
        assert not ascending(np.array(wrong), 5)


def test_a_bomb_is_not_decompressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_files, "_MAX_BYTES", 1 << 20)
    save_arrays(tmp_path / "a.npz", {"x": np.zeros(1 << 18)}, compress=True)
    assert (tmp_path / "a.npz").stat().st_size < 10_000
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    with pytest.raises(SA3DError, match="its arrays have"):
        load_arrays(tmp_path / "a.npz")


def test_a_header_that_promises_more_than_there_is_allocates_nothing(tmp_path: Path) -> None:
    short = npy(np.zeros(4)).replace(b"(4,)", b"(10**15,)")
    whole = npy(np.zeros(4)).replace(b"(4,), ", b"(9999999999999,), ")
    for content in (short, whole, npy(np.zeros(4))[:-1], npy(np.zeros(4)) + b" "):
        refused(tmp_path / "a.npz", {"x.npy": content}, "cannot read")


def test_other_things_than_arrays_of_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    refused(path, {"x.txt": b"text"}, "'x.txt' in it is not an array")
    refused(path, {"x.npy": npy(np.array(["text"]))}, "not of numbers")
    refused(path, {"x.npy": npy(np.array([(1, 2.0)], dtype="i4,f8"))}, "not of numbers")
    refused(path, {"x.npy": b""}, "cannot read")
    refused(path, {"x.npy": npy(np.zeros(4)).replace(b"NUMPY\x01", b"NUMPY\x07")}, "damaged header")
    refused(path, {"x": npy(np.zeros(4)), "x.npy": npy(np.zeros(4))}, "two arrays of one name")


def test_a_folder_and_a_flipped_bit_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SA3DError, match="Is a directory"):
        load_arrays(tmp_path)
    save_arrays(tmp_path / "a.npz", {"x": np.arange(1000)}, compress=True)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    for place in range(0, len(content), 7):
        changed = content.copy()
        changed[place] ^= 16
        (tmp_path / "a.npz").write_bytes(changed)
        try:
            assert np.array_equal(load_arrays(tmp_path / "a.npz")["x"], np.arange(1000))
        except SA3DError:
            continue
        except KeyError:  # the name was changed
            continue
