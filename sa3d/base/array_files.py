"""Reads and writes files of arrays (``.npz``)."""

from __future__ import annotations

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

_MAX_BYTES = 4 << 30
_MAX_ARRAYS = 10_000
_SUFFIX = ".npy"
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, compress: bool = False) -> None:
    """Write an ``.npz`` file atomically; uncompressed by default, which is faster to read."""
    import numpy as np

    # np.savez leaves its archive open when it is interrupted, which warns at exit.
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", kind) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}{_SUFFIX}", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an ``.npz`` file.

    Sizes are checked before an array is decompressed. Arrays of other things than numbers are not
    read.

    Raises:
        SA3DError: the file is missing, damaged, not an ``.npz`` file, or its arrays are larger than
            4 GiB together.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            names = _checked_names(archive)
            return {name: _read(archive, info) for name, info in names.items()}
    except (
        *(OSError, ValueError, EOFError, KeyError, RecursionError, MemoryError, RuntimeError),
        *(zipfile.BadZipFile, zlib.error, NotImplementedError),
    ) as error:
        raise SA3DError(f"cannot read {path}: {error or type(error).__name__}") from error


def _checked_names(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members of an archive by the names of their arrays.

    Raises:
        ValueError: a member is not an array, or they are too many or too large.
    """
    members = archive.infolist()
    names = {info.filename.removesuffix(_SUFFIX): info for info in members}
    if len(names) < len(members) or len(members) > _MAX_ARRAYS:
        raise ValueError("it holds two arrays of one name, or too many arrays")
    for name, info in names.items():
        known = info.compress_type in _METHODS and not info.flag_bits & _ENCRYPTED
        if not info.filename.endswith(_SUFFIX) or not known:
            raise ValueError(f"{name!r} in it is not an array")
    total = sum(info.file_size for info in members)
    if total > _MAX_BYTES:
        raise ValueError(f"its arrays have {total / 2**30:.1f} GiB, more than {_MAX_BYTES >> 30}")
    return names


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Read an array of numbers whose header fits its declared size.

    Raises:
        ValueError: the array is damaged, or not of numbers.
    """
    import numpy as np

    with archive.open(info) as file:
        shape, dtype = _header(file)
        if file.tell() + math.prod(shape) * dtype.itemsize != info.file_size:
            raise ValueError(f"{info.filename} in it has another size than its header says")
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


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
    if dtype.kind not in "biuf" or any(side < 0 for side in shape):
        raise ValueError("an array in it is not of numbers")
    return shape, dtype
