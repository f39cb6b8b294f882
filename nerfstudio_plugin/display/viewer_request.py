"""Who asks the model for a picture: Nerfstudio's viewer, in a hurry, or anything else, that waits.

Nerfstudio 1.1.5 renders in threads that are ``RenderStateMachine`` objects, one per browser.
It asks first for a picture of some 30 rows and then for the full one, however long that takes, and
whoever waits for its lock meanwhile stands still. Here instead every call takes a fraction of a
second, gives the best picture so far, and asks the thread to come again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from nerfstudio.cameras.cameras import Cameras
from nerfstudio.viewer.render_state_machine import RenderAction, RenderStateMachine
from nerfstudio.viewer.utils import get_camera

_SECONDS = 0.15
"""Time per call in the viewer; whoever moves the camera waits so long for the next picture."""


@dataclass(frozen=True)
class Request:
    """A picture that is wanted.

    Attributes:
        camera: one camera, at the size of the picture.
        seconds: rendering may take about so long; None: until it is finished.
        again: call it to be asked once more.
    """

    camera: Cameras
    seconds: float | None = None
    again: Callable[[], None] | None = None


def current_request(camera: Cameras) -> Request:
    """What this thread wants when it asks for a camera.

    The viewer gets its full resolution at once, however coarse: what is rendered for a small
    picture would be of no use for a large one.
    """
    thread = threading.current_thread()
    if not isinstance(thread, RenderStateMachine):
        return Request(camera)
    panel = thread.viewer.control_panel

    def again() -> None:
        state = thread.viewer.get_camera_state(thread.client)
        thread.action(RenderAction("step", state))

    if panel.split:  # its halves must have one size
        return Request(camera, _SECONDS, again)
    state = thread.viewer.get_camera_state(thread.client)
    height = max(1, min(panel.max_res, int(panel.max_res / state.aspect)))
    width = max(1, min(panel.max_res, int(panel.max_res * state.aspect)))
    return Request(get_camera(state, height, width).to(camera.device), _SECONDS, again)
