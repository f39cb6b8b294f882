"""What this package adds to a Nerfstudio checkpoint: named tensors and a description in JSON.

Nothing but tensors, the JSON among them as bytes, so that ``torch.load`` needs no code to read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sa3d.base.errors import SA3DError

FORMAT_VERSION = 1
PREFIX = "sa3d."
"""All entries of this package begin with it."""


def pack(about: Mapping[str, Any], named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries of a checkpoint that hold a description and copies of tensors."""
    described = json.dumps({"version": FORMAT_VERSION, **about}).encode()
    content = {"about": torch.tensor(list(described), dtype=torch.uint8), **named}
    return {PREFIX + name: tensor.detach().clone() for name, tensor in content.items()}


def unpack(
    tensors: Mapping[str, Tensor], device: torch.device, absent: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What ``pack`` was given, from a checkpoint that may hold other entries too.

    Args:
        absent: what to tell the user if the checkpoint has no such entries.

    Raises:
        SA3DError: there are no such entries, or they have another version.
        ValueError, LookupError: the description is damaged.
    """
    named = {
        name.removeprefix(PREFIX): tensor.to(device)
        for name, tensor in tensors.items()
        if name.startswith(PREFIX)
    }
    if "about" not in named:
        raise SA3DError(absent)
    about = json.loads(bytes(named.pop("about").tolist()))
    if about["version"] != FORMAT_VERSION:
        raise SA3DError(
            f"the checkpoint has format {about['version']}, this program reads {FORMAT_VERSION}: "
            "make it again, or use the version that wrote it"
        )
    return about, named
