"""Readable errors for too little memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from sa3d.base.errors import SA3DError

SMALLER = (
    "use a smaller segmenter (segmenter='sam2.1-tiny', or segmenter='graphcut', which needs the"
    " least)"
)

_CPU_ALLOCATION_FAILED = ("not enough memory", "can't allocate memory", "cannot allocate memory")


@contextlib.contextmanager
def enough_memory(purpose: str, remedy: str = SMALLER) -> Iterator[None]:
    """Turn a failed allocation in the block into an error with a remedy.

    Args:
        purpose: of the memory, such as "to load sam-huge".
        remedy: what the user can do.

    Raises:
        SA3DError: there was too little memory.
    """
    try:
        yield
    except (MemoryError, torch.cuda.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise SA3DError(
            f"too little memory {purpose}: {remedy}, or device='cpu' if it was the GPU's"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is a failed allocation; torch has no type for those of a CPU."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in _CPU_ALLOCATION_FAILED
    )
