"""Reads and writes files of arrays (``.npz``)."""

from __future__ import annotations

import hashlib
import math
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sa3d.base.errors import SA3DError
from sa3d.base.storage import atomic_path

if TYPE_CHECKING:
    import numpy as np

ArrayKind = tuple[str, tuple[int | str | None, ...]]
"""Type and shape of an array. A type is NumPy's name, or empty for any numbers. A side is a number,
None for any length, or a name: sides with the same name have the same length."""

_BELONGS_TO = "belongs_to"
_DIGEST = 32
_MAX_BYTES = 4 << 30
_MAX_ARRAYS = 10_000
_SUFFIX = ".npy"
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def save_arrays(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    *,
    belongs_to: str | None = None,
    compress: bool = False,
    durable: bool = True,
) -> None:
    """Write an ``.npz`` file atomically.

    Args:
        path: the file.
        arrays: by name.
        belongs_to: all that the arrays depend on, as text; ``load_arrays`` compares it.
        compress: write a smaller file, which is slower to read.
        durable: see ``atomic_path``.

    Raises:
        SA3DError: the disk is full or the folder not writable.
    """
    import numpy as np

    if belongs_to is not None:
        arrays = {**arrays, _BELONGS_TO: _identity(belongs_to)}
    # np.savez leaves its archive open when it is interrupted, which warns at exit.
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with (
        atomic_path(path, durable=durable) as temporary,
        zipfile.ZipFile(temporary, "w", kind) as archive,
    ):
        for name, array in arrays.items():
            with archive.open(f"{name}{_SUFFIX}", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def load_arrays(
    path: Path,
    expected: Mapping[str, ArrayKind] | None = None,
    optional: Mapping[str, ArrayKind] | None = None,
    *,
    belongs_to: str | None = None,
) -> dict[str, np.ndarray]:
    """Read arrays of an ``.npz`` file.

    Types and sizes are checked before an array is decompressed. Floats are finite. Arrays of other
    things than numbers are not read.

    Args:
        path: the file.
        expected: the arrays to read, by name; None reads all arrays, of any kind.
        optional: arrays that are read if they are there.
        belongs_to: as it was given to ``save_arrays``.

    Raises:
        SA3DError: the file is missing, damaged, not an ``.npz`` file, belongs to something else,
            lacks an array, has one of another kind, or its arrays are larger than 4 GiB together.

    Example:
        >>> load_arrays(Path("votes.npz"), {"keys": ("int64", ("N",)), "vote": ("float32", ("N",))})
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            if belongs_to is not None:
                own = _checked_members(archive, {_BELONGS_TO: ("uint8", (_DIGEST,))}, {})
                if (_read(archive, own[_BELONGS_TO]) != _identity(belongs_to)).any():
                    raise ValueError("it belongs to something else")
            members = _checked_members(archive, expected, optional or {})
            members.pop(_BELONGS_TO, None)
            return {name: _read(archive, info) for name, info in members.items()}
    except (
        *(OSError, ValueError, EOFError, KeyError, RecursionError, MemoryError, RuntimeError),
        *(zipfile.BadZipFile, zlib.error, NotImplementedError),
    ) as error:
        raise SA3DError(f"cannot read {path}: {error or type(error).__name__}") from error


def ascending(keys: np.ndarray, end: int) -> bool:
    """Return whether integers [N] ascend strictly, from 0 at least to ``end`` - 1 at most."""
    return not len(keys) or bool(keys[0] >= 0 and keys[-1] < end and (keys[1:] > keys[:-1]).all())


def _identity(belongs_to: str) -> np.ndarray:
    import numpy as np

    text = belongs_to.encode("utf-8", "surrogatepass")  # in file names that are not UTF-8
    return np.frombuffer(hashlib.sha256(text).digest(), dtype=np.uint8)


def _checked_members(
    archive: zipfile.ZipFile,
    expected: Mapping[str, ArrayKind] | None,
    optional: Mapping[str, ArrayKind],
) -> dict[str, zipfile.ZipInfo]:
    """Return the wanted members of an archive by the names of their arrays.

    Raises:
        ValueError: one is missing, is not an array of its kind, or they are too many or too large.
    """
    members = archive.infolist()
    names = {info.filename.removesuffix(_SUFFIX): info for info in members}
    if len(names) < len(members) or len(members) > _MAX_ARRAYS:
        raise ValueError("it holds two arrays of one name, or too many arrays")
    if expected is not None:
        if missing := sorted(expected.keys() - names.keys()):
            raise ValueError(f"it lacks the array {missing[0]!r}")
        names = {name: names[name] for name in (*expected, *(optional.keys() & names.keys()))}
    for name, info in names.items():
        known = info.compress_type in _METHODS and not info.flag_bits & _ENCRYPTED
        if not info.filename.endswith(_SUFFIX) or not known:
            raise ValueError(f"{name!r} in it is not an array")
    total = sum(info.file_size for info in names.values())
    if total > _MAX_BYTES:
        raise ValueError(f"its arrays have {total / 2**30:.1f} GiB, more than {_MAX_BYTES >> 30}")
    sides: dict[str, int] = {}
    kinds = {**(expected or {}), **optional}
    for name, info in names.items():
        with archive.open(info) as file:
            shape, dtype = _header(file)
            if file.tell() + math.prod(shape) * dtype.itemsize != info.file_size:
                raise ValueError(f"{name!r} in it has another size than its header says")
        if name in kinds:
            _check_kind(name, shape, dtype, kinds[name], sides)
    return names


def _check_kind(
    name: str, shape: tuple[int, ...], dtype: np.dtype, kind: ArrayKind, sides: dict[str, int]
) -> None:
    """Check an array against its kind; sides that were seen before are added to ``sides``.

    Raises:
        ValueError: the array has another type or shape.
    """
    wanted_type, wanted = kind
    fits = len(shape) == len(wanted) and (not wanted_type or dtype == wanted_type)
    for side, named in zip(shape, wanted, strict=False):
        expected = sides.setdefault(named, side) if isinstance(named, str) else named
        fits = fits and expected in (None, side)
    if not fits:
        form = ", ".join(str(sides.get(str(one), one)) for one in wanted)
        raise ValueError(f"{name!r} in it is {dtype} {list(shape)}, not {wanted_type} [{form}]")


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Read an array whose header was checked.

    Raises:
        ValueError: the array is damaged, or a value is not finite.
    """
    import numpy as np

    with archive.open(info) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{info.filename.removesuffix(_SUFFIX)!r} in it has values not finite")
    return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Read shape and type of an array.

    Raises:
        ValueError: the header is damaged, or the array is not of numbers.
    """
    import numpy as np

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as that Python 2 wrote the header
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read(file)
    except Exception as error:  # NumPy's parser raises errors of many kinds, some of the tokenizer
        raise ValueError("an array in it has a damaged header") from error
    if dtype.kind not in "biuf" or not dtype.isnative or any(side < 0 for side in shape):
        raise ValueError("an array in it is not of numbers of this machine")
    return shape, dtype
