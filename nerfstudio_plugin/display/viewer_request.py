"""Requests for images: from Nerfstudio's viewer, with a time limit, or from other callers.

Nerfstudio 1.1.5 renders in threads that are ``RenderStateMachine`` objects, one per browser. Such a
thread asks first for an image of about 30 rows and then for the full one, and holds a lock until
that is rendered. Here instead every call takes a fraction of a second, returns the best image so
far, and asks the thread to call again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from nerfstudio.cameras.cameras import Cameras
from nerfstudio.viewer.render_state_machine import RenderAction, RenderStateMachine
from nerfstudio.viewer.utils import get_camera

_SECONDS = 0.15
"""Time limit per call from the viewer: the delay of the next image when the camera moves."""


@dataclass(frozen=True)
class Request:
    """A request for an image.

    Attributes:
        camera: one camera, at the size of the image.
        seconds: approximate time limit; None: render until the image is finished.
        again: lets the caller request the image once more.
    """

    camera: Cameras
    seconds: float | None = None
    again: Callable[[], None] | None = None


def current_request(camera: Cameras) -> Request:
    """Return the request of the current thread, which asks to render a camera.

    The viewer gets an image of its full resolution at once, if coarse: rays rendered for a small
    image would be of no use for a large one.
    """
    thread = threading.current_thread()
    if not isinstance(thread, RenderStateMachine):
        return Request(camera)
    panel = thread.viewer.control_panel

    def again() -> None:
        state = thread.viewer.get_camera_state(thread.client)
        thread.action(RenderAction("step", state))

    if panel.split:  # both halves must have the same size
        return Request(camera, _SECONDS, again)
    state = thread.viewer.get_camera_state(thread.client)
    height = max(1, min(panel.max_res, int(panel.max_res / state.aspect)))
    width = max(1, min(panel.max_res, int(panel.max_res * state.aspect)))
    return Request(get_camera(state, height, width).to(camera.device), _SECONDS, again)
