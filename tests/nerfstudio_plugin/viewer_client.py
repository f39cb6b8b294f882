"""A browser's part of viser's protocol: connect, place a camera, read what the server shows."""

from __future__ import annotations

import io
import time
from typing import Any

import msgspec
import numpy as np
from PIL import Image
from websockets.sync.client import connect

CAMERA = {
    "type": "ViewerCameraMessage",
    "wxyz": (1.0, 0.0, 0.0, 0.0),
    "fov": 0.8,
    "aspect": 1.3,
    "look_at": (0.0, 0.0, 0.0),
    "up_direction": (0.0, 0.0, 1.0),
}


def look_through(
    port: int, position: tuple[float, float, float], seconds: float, choice: str
) -> Any:
    """Content of a viewer on this port: its first picture [H, W, 3] and its dropdowns' choices.

    Args:
        choice: a choice to wait for.

    Returns:
        The picture, or None if none came in time, and the sets of choices seen.
    """
    picture, choices, until = None, [], time.monotonic() + seconds
    with connect(f"ws://127.0.0.1:{port}", max_size=None) as socket:
        socket.send(msgspec.msgpack.encode({**CAMERA, "position": position}))
        while time.monotonic() < until and (picture is None or not _has(choices, choice)):
            try:
                received = msgspec.msgpack.decode(socket.recv(timeout=1))
            except TimeoutError:
                continue
            for message in received if isinstance(received, list) else [received]:
                if message["type"] == "BackgroundImageMessage" and message["rgb_bytes"]:
                    picture = np.asarray(Image.open(io.BytesIO(message["rgb_bytes"])))
                choices += _choices(message)
    return picture, choices


def _has(choices: list[set[str]], name: str) -> bool:
    return any(name in one for one in choices)


def _choices(message: dict[str, Any]) -> list[set[str]]:
    found = [message, message.get("updates") or {}, message.get("props") or {}]
    return [set(one["options"]) for one in found if isinstance(one.get("options"), list)]
