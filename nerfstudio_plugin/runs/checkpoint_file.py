"""Finds and reads a run's checkpoint; reads tensors only, never a pickle that can run code."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sa3d.base.errors import SA3DError

_FILE_NAME = re.compile(r"step-(\d+)\.ckpt")


def find_checkpoint(checkpoint_dir: Path, step: int | None = None) -> Path:
    """Return the checkpoint of a step, or the latest one.

    Args:
        checkpoint_dir: the run's ``nerfstudio_models`` folder.
        step: training step; None takes the latest.

    Raises:
        SA3DError: the folder holds no checkpoint, or none of that step.
    """
    files = checkpoint_dir.glob("*.ckpt") if checkpoint_dir.is_dir() else iter(())
    by_step = {int(match[1]): file for file in files if (match := _FILE_NAME.fullmatch(file.name))}
    if not by_step:
        raise SA3DError(
            f"no checkpoint (step-*.ckpt) in {checkpoint_dir}; copy the whole run folder, or train "
            "until the first checkpoint is saved (--steps-per-save)"
        )
    if step is None:
        return by_step[max(by_step)]
    if step not in by_step:
        steps = ", ".join(str(number) for number in sorted(by_step))
        raise SA3DError(f"no checkpoint of step {step} in {checkpoint_dir}; there are: {steps}")
    return by_step[step]


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

    Raises:
        SA3DError: the file cannot be read, or is not a Nerfstudio checkpoint.
    """
    try:
        with torch.serialization.safe_globals(_harmless_globals()):
            loaded = torch.load(str(checkpoint), map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise SA3DError(
            f"{checkpoint} holds more than weights and was not opened, since it could run code "
            f"({' '.join(str(error).split())[:300]}); use a checkpoint written by ns-train"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise SA3DError(
            f"{checkpoint} is damaged or cut short ({str(error).splitlines()[0]}); copy it again, "
            "or choose an earlier step"
        ) from error
    state = loaded.get("pipeline") if isinstance(loaded, dict) else None
    if not isinstance(state, dict):
        raise SA3DError(f"{checkpoint} is not a Nerfstudio checkpoint: it has no pipeline weights")
    weights = {
        key.removeprefix("_model.").removeprefix("module."): value
        for key, value in state.items()
        if key.startswith("_model.")
    }
    return {key: value for key, value in weights.items() if not key.startswith("lpips.")}


def implementation_of(weights: dict[str, Tensor]) -> Literal["tcnn", "torch"]:
    """Return the implementation of the hash grid that the weights belong to.

    ``config.yml`` is not reliable: without tiny-cuda-nn, Nerfstudio trains with torch although the
    config says tcnn.
    """
    is_torch = any(key.endswith("hash_table") for key in weights)
    return "torch" if is_torch else "tcnn"
