"""Finds and reads a run's checkpoint; reads tensors only, never a pickle that can run code."""

from __future__ import annotations

import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from nerfstudio_plugin.runs.run_folder import checkpoint_step
from nerfstudio_plugin.runs.weight_layouts import FORMER_POSES
from sa3d.base.errors import SA3DError

Implementation = Literal["tcnn", "torch"]
"""Of hash grids and networks, by Nerfstudio's names."""

_LOG = logging.getLogger(__name__)
_REPLACED = 20
"""Times that a checkpoint may be replaced while it is read."""
_ARCHIVE = b"PK\x03\x04"
"""First bytes of a zip archive."""


def find_checkpoint(checkpoint_dir: Path, step: int | None = None) -> Path:
    """Return the checkpoint of a step, or the latest one.

    ns-train may be writing the latest one at this moment. It keeps the one before until the file is
    whole; that one is returned then, and a line of the log says so.

    Args:
        checkpoint_dir: the run's ``nerfstudio_models`` folder.
        step: training step; None takes the latest.

    Raises:
        SA3DError: the folder holds no checkpoint, or none of that step.
    """
    files = checkpoint_dir.glob("*.ckpt") if checkpoint_dir.is_dir() else iter(())
    by_step = {number: file for file in files if (number := checkpoint_step(file.name)) is not None}
    if not by_step:
        raise SA3DError(
            f"no checkpoint (step-*.ckpt) in {checkpoint_dir}; copy the whole run folder, or train "
            "until the first checkpoint is saved (--steps-per-save)"
        )
    if step is None:
        return _newest(by_step)
    if step not in by_step:
        steps = ", ".join(str(number) for number in sorted(by_step))
        raise SA3DError(f"no checkpoint of step {step} in {checkpoint_dir}; there are: {steps}")
    return by_step[step]


def _newest(by_step: dict[int, Path]) -> Path:
    """Return the newest checkpoint whose end is written; the newest one if none has an end."""
    newest = by_step[max(by_step)]
    for step in sorted(by_step, reverse=True):
        if not _is_cut_short(by_step[step]):
            if by_step[step] != newest:
                _LOG.warning(
                    "%s is cut short, or still being written; opening %s", newest, by_step[step]
                )
            return by_step[step]
    return newest


def _is_cut_short(checkpoint: Path) -> bool:
    """Return whether a file is gone, empty, or an archive without the list that is its end."""
    try:
        with checkpoint.open("rb") as file:
            start = file.read(len(_ARCHIVE))
        return not start or (start == _ARCHIVE and not zipfile.is_zipfile(checkpoint))
    except OSError:
        return True


def read_checkpoint(
    checkpoint_dir: Path, step: int | None = None
) -> tuple[Path, dict[str, Tensor]]:
    """Find a checkpoint and read its weights: see ``find_checkpoint`` and ``read_model_weights``.

    ns-train removes a checkpoint as soon as it has written the next one. If that happens while it
    is read, the next one is read.

    Raises:
        SA3DError: the folder holds no such checkpoint, or it cannot be used.
    """
    for _ in range(_REPLACED):
        checkpoint = find_checkpoint(checkpoint_dir, step)
        try:
            return checkpoint, read_model_weights(checkpoint)
        except SA3DError:
            if checkpoint.exists():
                raise
    raise SA3DError(
        f"the checkpoints in {checkpoint_dir} are replaced faster than they can be read; wait for "
        "the training, or save less often (--steps-per-save)"
    )


def _harmless_globals() -> list[Any]:
    """Return the types in Nerfstudio's checkpoints beside tensors: numpy scalars of optimizers."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = (np.float64, np.float32, np.int64, np.int32, np.bool_)
    return [
        (scalar, "numpy.core.multiarray.scalar"),  # as numpy 1 writes it
        (scalar, "numpy._core.multiarray.scalar"),  # as numpy 2 writes it
        np.dtype,
        *(type(np.dtype(kind)) for kind in kinds),
    ]


def read_model_weights(checkpoint: Path) -> dict[str, Tensor]:
    """Read the model's weights from a checkpoint to the CPU, without those of the metric LPIPS.

    Pose adjustments of Nerfstudio up to 0.3.4, which the data manager had, are ``FORMER_POSES``.

    Raises:
        SA3DError: the file cannot be read, is damaged, is not a Nerfstudio checkpoint, or holds a
            weight that is not a finite number.
    """
    is_archive = _check_archive(checkpoint)
    try:
        with torch.serialization.safe_globals(_harmless_globals()):
            loaded = torch.load(
                str(checkpoint), map_location="cpu", weights_only=True, mmap=is_archive
            )
    except pickle.UnpicklingError as error:
        raise SA3DError(
            f"{checkpoint} holds more than weights and was not opened, since it could run code "
            f"({' '.join(str(error).split())[:300]}); use a checkpoint written by ns-train"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError) as error:
        raise _damaged(
            checkpoint, (str(error).splitlines() or [type(error).__name__])[0]
        ) from error
    state = loaded.get("pipeline") if isinstance(loaded, dict) else None
    if not isinstance(state, dict):
        raise SA3DError(f"{checkpoint} is not a Nerfstudio checkpoint: it has no pipeline weights")
    weights = {
        inner.removeprefix("_model.").removeprefix("module."): value
        for key, value in state.items()
        if isinstance(key, str) and (inner := key.removeprefix("module.")).startswith("_model.")
    }
    kept = {key: value for key, value in weights.items() if not key.startswith("lpips.")}
    if FORMER_POSES in state:
        kept[FORMER_POSES] = state[FORMER_POSES]
    for key, value in kept.items():
        if not isinstance(value, Tensor) or not bool(torch.isfinite(value).all()):
            raise SA3DError(
                f"{checkpoint}: the weights {key!r} hold NaN or infinity; the training diverged: "
                "choose an earlier step, or train again"
            )
    return kept


def _check_archive(checkpoint: Path) -> bool:
    """Check the file against its own checksums: torch reads flipped bits without an error.

    It takes 0.1 s for 100 MB. Files of torch before 1.6 are no archives and have no checksums;
    for them False is returned.

    Raises:
        SA3DError: the file is damaged, or compressed, which torch never writes.
    """
    try:
        if not zipfile.is_zipfile(checkpoint):
            return _is_cut_short(checkpoint)  # torch then says so
        with zipfile.ZipFile(checkpoint) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise SA3DError(
                    f"{checkpoint} is compressed, which torch never does, and was not opened; use "
                    "a checkpoint written by ns-train"
                )
            wrong = [member.filename for member in members if not _is_whole(archive, member)]
            if wrong and len(wrong) < len(members):  # all: torch was told to write no checksums
                raise _damaged(checkpoint, f"the checksum of {wrong[0]} is wrong")
    except (OSError, zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        raise _damaged(checkpoint, str(error)) from error
    return True


def _is_whole(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(member) as file:
            while file.read(1 << 22):
                pass
    except zipfile.BadZipFile as error:
        if "CRC" not in str(error):
            raise
        return False
    return True


def _damaged(checkpoint: Path, reason: str) -> SA3DError:
    return SA3DError(
        f"{checkpoint} is damaged or cut short ({reason}); copy it again, or choose an earlier step"
    )


def implementation_of(weights: dict[str, Tensor]) -> Implementation:
    """Return the implementation that the weights belong to; tiny-cuda-nn's are named ``params``.

    ``config.yml`` is not reliable: without tiny-cuda-nn, Nerfstudio trains with torch although the
    config says tcnn.
    """
    return "tcnn" if any(key.endswith(".params") for key in weights) else "torch"
