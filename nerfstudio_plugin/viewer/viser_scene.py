"""Viser where Nerfstudio's elements end: pointer events, cameras, pictures, downloads, notices.

Lengths in viser are ten times those of Nerfstudio's world, and its cameras look along +z (OpenCV).
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import viser
import viser.transforms as vtf
from nerfstudio.viewer.viewer import VISER_NERFSTUDIO_SCALE_RATIO

from nerfstudio_plugin.viewer.marks import Mark
from nerfstudio_plugin.viewer.state import Notice
from sa3d.geometry.camera import Camera
from sa3d.objects.colors import Color

_HEIGHT = 1000
"""Rows of the image that a browser's camera is taken to have."""
_MARK = 0.006
"""Radius of a mark, as a share of its distance from the camera that set it."""
_ON, _BESIDE = (60, 220, 90), (250, 60, 60)
_FLIP = np.diag([1.0, -1.0, -1.0])
"""OpenCV's camera axes in OpenGL's."""

Pointer = Callable[[Camera, tuple[tuple[float, float], ...]], None]
"""Takes the camera of the browser, and where on its image (pixels) the pointer was."""


def browser_camera(client: viser.ClientHandle) -> Camera:
    """The camera a browser looks through, in Nerfstudio's world, 1000 pixels high."""
    rotation = vtf.SO3(client.camera.wxyz).as_matrix() @ _FLIP
    position = np.asarray(client.camera.position) / VISER_NERFSTUDIO_SCALE_RATIO
    width = max(1, round(_HEIGHT * client.camera.aspect))
    focal = _HEIGHT / 2 / math.tan(client.camera.fov / 2)
    return Camera(
        c2w=torch.from_numpy(np.concatenate([rotation, position[:, None]], axis=1)).float(),
        fx=focal,
        fy=focal,
        cx=width / 2,
        cy=_HEIGHT / 2,
        width=width,
        height=_HEIGHT,
    )


def look_through(client: viser.ClientHandle, camera: Camera) -> None:
    """Put a browser where a photo was taken, with as much in view as the photo shows."""
    rotation = camera.c2w[:, :3].numpy().astype(np.float64) @ _FLIP
    tall = camera.height / 2 / camera.fy
    wide = camera.width / 2 / camera.fx / max(client.camera.aspect, 1e-3)
    with client.atomic():
        client.camera.fov = 2 * math.atan(max(tall, wide))
        client.camera.position = camera.position.numpy() * VISER_NERFSTUDIO_SCALE_RATIO
        client.camera.wxyz = vtf.SO3.from_matrix(rotation).wxyz


def begin_at(client: viser.ClientHandle, camera: Camera) -> None:
    """Put a new browser where a photo was taken; again as long as its window takes shape."""
    look_through(client, camera)
    place = camera.position.numpy() * VISER_NERFSTUDIO_SCALE_RATIO
    fitted = [client.camera.aspect]

    @client.camera.on_update
    def _(seen: viser.CameraHandle) -> None:
        stands_there = bool(np.allclose(seen.position, place, atol=1e-2))
        if stands_there and abs(seen.aspect - fitted[-1]) > 1e-3:
            fitted.append(seen.aspect)
            look_through(client, camera)


class PointerTool:
    """What the pointer does in the scene; the same in all browsers."""

    def __init__(self, server: viser.ViserServer) -> None:
        self._server, self._listening = server, False

    def use(self, kind: Literal["click", "rect-select"], act: Pointer) -> None:
        """Give clicks, or rectangles dragged, to ``act`` instead of turning the camera."""
        self.put_down()

        def on_pointer(event: viser.ScenePointerEvent) -> None:
            camera = browser_camera(event.client)
            size = np.array([camera.width, camera.height])
            spots = [tuple((np.array(spot) * size - 0.5).tolist()) for spot in event.screen_pos]
            act(camera, tuple(spots))  # pyright: ignore[reportArgumentType]

        self._server.scene.on_pointer_event(kind)(on_pointer)
        self._listening = True

    def put_down(self) -> None:
        """Let the pointer turn the camera again."""
        if self._listening:
            self._server.scene.remove_pointer_callback()
        self._listening = False


class Markers:
    """The marks and what they select, in 3D."""

    def __init__(self, server: viser.ViserServer) -> None:
        self._server = server
        self._marks: tuple[Mark, ...] = ()
        self._handles: list[viser.SceneNodeHandle] = []
        self._cloud: viser.PointCloudHandle | None = None

    def show(self, marks: tuple[Mark, ...], eyes: list[np.ndarray]) -> None:
        """Show a ball at every mark; ``eyes`` are the camera positions [3] of the marks' photos."""
        if marks == self._marks:
            return
        self._marks = marks
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for number, (mark, eye) in enumerate(zip(marks, eyes, strict=True)):
            point = np.array(mark.point_world)
            self._handles.append(
                self._server.scene.add_icosphere(
                    f"/sa3d/mark_{number}",
                    radius=_MARK
                    * float(np.linalg.norm(eye - point))
                    * VISER_NERFSTUDIO_SCALE_RATIO,
                    color=_ON if mark.label else _BESIDE,
                    subdivisions=2,
                    position=point * VISER_NERFSTUDIO_SCALE_RATIO,
                )
            )

    def cover(self, points_world: np.ndarray | None, color: Color, size: float = 0.02) -> None:
        """Show surface points [N, 3] in color; None takes them away."""
        if self._cloud is not None:
            self._cloud.remove()
            self._cloud = None
        if points_world is not None and len(points_world):
            self._cloud = self._server.scene.add_point_cloud(
                "/sa3d/selected",
                points_world * VISER_NERFSTUDIO_SCALE_RATIO,
                color,
                point_size=size,
                point_shape="circle",
            )


def picture_markdown(picture: np.ndarray, caption: str) -> str:
    """A picture, uint8 [h, w, 3], inside Markdown."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="JPEG", quality=85)
    data = base64.b64encode(stream.getvalue()).decode()
    return f"![{caption}](data:image/jpeg;base64,{data})"


def tell(server: viser.ViserServer, notice: Notice) -> None:
    """Show a notice in all browsers; errors stay longer."""
    failed = notice.kind == "error"
    for client in server.get_clients().values():
        client.add_notification(
            notice.title,
            notice.text,
            auto_close=30000 if failed else 12000,
            color="red" if failed else "green",
        )


def send_file(client: viser.ClientHandle, file: Path) -> None:
    """Have a browser download a file."""
    client.send_file_download(file.name, file.read_bytes())
