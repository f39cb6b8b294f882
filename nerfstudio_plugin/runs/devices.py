"""Names of torch devices."""

from __future__ import annotations

from typing import Literal

from sa3d.base.errors import SA3DError


def torch_device(name: Literal["auto", "cpu", "cuda"]) -> str:
    """Return the torch device of a name; "auto" is a GPU if there is one.

    Raises:
        SA3DError: there is no such device, or none on this machine.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except (RuntimeError, TypeError) as error:
        raise SA3DError(f"there is no device {name!r}: give auto, cpu or cuda") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise SA3DError("this torch sees no CUDA GPU; choose the device cpu or auto")
    return name
