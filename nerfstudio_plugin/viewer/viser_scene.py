"""Calls to viser: pointer events, cameras, markers, images, notices and downloads.

Lengths in viser are ten times those of the world frame, and its cameras look along +z (OpenCV).
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

from nerfstudio_plugin.viewer.markdown import escape
from nerfstudio_plugin.viewer.marks import Mark
from nerfstudio_plugin.viewer.state import Notice
from sa3d.base.printable import printable
from sa3d.geometry.camera import Camera
from sa3d.objects.colors import Color

_HEIGHT = 1000
"""Height in pixels that a browser's camera is given."""
_MARKER_RADIUS = 0.006
"""Radius of a mark's ball, as a share of its distance from the photo's camera."""
_POINT_SIZE = 0.02
"""Of the points on the selected surface, in viser's units."""
_ON_OBJECT, _BESIDE = (60, 220, 90), (250, 60, 60)
_FLIP = np.diag([1.0, -1.0, -1.0])
"""Turns OpenCV's camera axes into OpenGL's and back."""

OnPointer = Callable[[Camera, tuple[tuple[float, float], ...]], None]
"""Called with the browser's camera, and the pixels of its image that the pointer marked."""


def browser_camera(client: viser.ClientHandle) -> Camera:
    """Return the camera of a browser, in the world frame, 1000 pixels high."""
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
    """Move a browser's camera to a photo's, so that all of the photo is in view."""
    rotation = camera.c2w[:, :3].numpy().astype(np.float64) @ _FLIP
    tall = camera.height / 2 / camera.fy
    wide = camera.width / 2 / camera.fx / max(client.camera.aspect, 1e-3)
    with client.atomic():
        client.camera.fov = 2 * math.atan(max(tall, wide))
        client.camera.position = camera.position.numpy() * VISER_NERFSTUDIO_SCALE_RATIO
        client.camera.wxyz = vtf.SO3.from_matrix(rotation).wxyz


def place_new_browser(client: viser.ClientHandle, camera: Camera) -> None:
    """Move a new browser's camera to a photo's, again whenever its window changes shape.

    That ends when the user moves the camera.
    """
    look_through(client, camera)
    place = camera.position.numpy() * VISER_NERFSTUDIO_SCALE_RATIO
    fitted = [client.camera.aspect]

    @client.camera.on_update
    def _(seen: viser.CameraHandle) -> None:
        unmoved = bool(np.allclose(seen.position, place, atol=1e-2))
        if unmoved and abs(seen.aspect - fitted[-1]) > 1e-3:
            fitted.append(seen.aspect)
            look_through(client, camera)


class PointerTool:
    """The pointer in the scene; it does the same in all browsers."""

    def __init__(self, server: viser.ViserServer) -> None:
        self._server, self._listening = server, False

    def use(self, kind: Literal["click", "rect-select"], on_pointer: OnPointer) -> None:
        """Call ``on_pointer`` with clicks, or dragged boxes, instead of turning the camera."""
        self.stop()

        def on_event(event: viser.ScenePointerEvent) -> None:
            camera = browser_camera(event.client)
            size = np.array([camera.width, camera.height])
            points = [tuple((np.array(point) * size - 0.5).tolist()) for point in event.screen_pos]
            on_pointer(camera, tuple(points))  # pyright: ignore[reportArgumentType]

        self._server.scene.on_pointer_event(kind)(on_event)
        self._listening = True

    def stop(self) -> None:
        """Let the pointer turn the camera again."""
        if self._listening:
            self._server.scene.remove_pointer_callback()
        self._listening = False


class Markers:
    """Marks, and the surface that they select, in 3D."""

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
                    radius=_MARKER_RADIUS
                    * float(np.linalg.norm(eye - point))
                    * VISER_NERFSTUDIO_SCALE_RATIO,
                    color=_ON_OBJECT if mark.label else _BESIDE,
                    subdivisions=2,
                    position=point * VISER_NERFSTUDIO_SCALE_RATIO,
                )
            )

    def show_selected(self, points_world: np.ndarray | None, color: Color) -> None:
        """Show surface points [N, 3] in color, instead of those before; None shows none."""
        if self._cloud is not None:
            self._cloud.remove()
            self._cloud = None
        if points_world is not None and len(points_world):
            self._cloud = self._server.scene.add_point_cloud(
                "/sa3d/selected",
                points_world * VISER_NERFSTUDIO_SCALE_RATIO,
                color,
                point_size=_POINT_SIZE,
                point_shape="circle",
            )


def image_markdown(image: np.ndarray, caption: str) -> str:
    """Embed an image, uint8 [h, w, 3], in Markdown."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="JPEG", quality=85)
    data = base64.b64encode(stream.getvalue()).decode()
    return f"![{escape(caption)}](data:image/jpeg;base64,{data})"


def show_notice(server: viser.ViserServer, notice: Notice) -> None:
    """Show a notice in all browsers; errors stay longer."""
    failed = notice.kind == "error"
    for client in server.get_clients().values():
        client.add_notification(
            printable(notice.title),
            printable(notice.text),
            auto_close=30000 if failed else 12000,
            color="red" if failed else "green",
        )


def send_file(client: viser.ClientHandle, file: Path) -> None:
    """Let a browser download a file."""
    client.send_file_download(file.name, file.read_bytes())
