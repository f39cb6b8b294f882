"""The parts of Nerfstudio's viewer and of viser that the panel uses, at pinned versions."""

from __future__ import annotations

import threading
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import torch
import viser
from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.viewer.render_state_machine import RenderAction, RenderStateMachine
from nerfstudio.viewer.viewer import VISER_NERFSTUDIO_SCALE_RATIO, Viewer
from nerfstudio.viewer.viewer_elements import ViewerControl, ViewerElement
from ns_commands import free_port
from studio_driver import StudioDriver, oracle_of
from viewer_client import CAMERA
from websockets.sync.client import connect

from nerfstudio_plugin.train.config import sa3d_method
from nerfstudio_plugin.viewer.files import Files
from nerfstudio_plugin.viewer.panel import PanelBackend, SegmentPanel
from nerfstudio_plugin.viewer.server_guard import guard_viewers
from nerfstudio_plugin.viewer.viser_scene import PointerTool, browser_camera, look_through

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def server():
    server = viser.ViserServer(host="127.0.0.1", port=free_port(), verbose=False)
    yield server
    server.stop()


class Browser:
    """A browser that has sent the position of its camera."""

    def __init__(self, server: viser.ViserServer) -> None:
        self.messages: list[dict] = []
        self._socket = connect(f"ws://127.0.0.1:{server.get_port()}", max_size=None)
        self.send({**CAMERA, "position": (30.0, 0.0, 1.0), "wxyz": (0.5, 0.5, 0.5, 0.5)})
        _until(lambda: len(server.get_clients()) > 0)
        (self.client,) = server.get_clients().values()

    def send(self, message: dict) -> None:
        self._socket.send(msgspec.msgpack.encode(message))

    def hears(self, kind: str, seconds: float = 20.0) -> list[dict]:
        """The messages of a kind so far; waits for one."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                received = msgspec.msgpack.decode(self._socket.recv(timeout=0.3))
                self.messages += received if isinstance(received, list) else [received]
            except TimeoutError:
                found = [one for one in self.messages if one["type"] == kind]
                if found:
                    return found
        raise AssertionError(f"no {kind} came; there were { ({m['type'] for m in self.messages}) }")

    def close(self) -> None:
        self._socket.close()


def _until(condition, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def browser(server):
    browser = Browser(server)
    yield browser
    browser.close()


def test_the_versions_that_the_panel_was_made_for():
    assert (version("nerfstudio"), version("viser")) == ("1.1.5", "0.2.7")


def test_what_is_used_of_nerfstudio_is_there():
    for name in ("set_camera_visibility", "toggle_cameravis_button", "get_camera_state"):
        assert callable(getattr(Viewer, name))
    for name in ("init_scene", "update_scene", "_trigger_rerender"):
        assert callable(getattr(Viewer, name))
    assert issubclass(RenderStateMachine, threading.Thread)
    assert callable(RenderStateMachine.action)
    assert RenderAction("move", None).action == "move"  # type: ignore[arg-type]
    assert issubclass(SegmentPanel, ViewerElement)
    assert VISER_NERFSTUDIO_SCALE_RATIO == 10
    control = ViewerControl()
    viewer = SimpleNamespace(viser_server="server")
    control._setup(viewer)  # type: ignore[arg-type]
    assert control.viewer is viewer


def test_it_listens_on_this_computer_only():
    assert sa3d_method.config.viewer.websocket_host == "127.0.0.1"
    assert ViewerConfig().websocket_host == "0.0.0.0"  # so every config here sets it


def test_looking_through_a_photo_and_the_browsers_camera_are_inverse(browser, still_life):
    camera = still_life.scene.views[2].camera
    client = browser.client
    look_through(client, camera)
    browser.hears("SetCameraPositionMessage")
    seen = browser_camera(client)
    torch.testing.assert_close(seen.c2w, camera.c2w, atol=1e-5, rtol=0)
    assert seen.height / 2 / seen.fy == pytest.approx(
        max(camera.height / 2 / camera.fy, camera.width / 2 / camera.fx / client.camera.aspect)
    )
    points = torch.tensor([[0.1, 0.2, -0.1], [0.3, -0.2, 0.0]])
    mine, theirs = (one.project(points)[0] for one in (seen, camera))
    scale = seen.fy / camera.fy
    centre, middle = torch.tensor([seen.cx, seen.cy]), torch.tensor([camera.cx, camera.cy])
    torch.testing.assert_close(mine - centre, (theirs - middle) * scale, atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "sent", "expected"),
    [
        ("click", [[0.25, 0.5]], [(324.5, 499.5)]),  # 1300 x 1000: 0.25 * 1300 - 0.5
        ("rect-select", [[0.1, 0.2], [0.5, 0.9]], [(129.5, 199.5), (649.5, 899.5)]),
    ],
)
def test_a_pointer_gives_its_pixels(server, browser, kind, sent, expected):
    got = []
    tool = PointerTool(server)
    tool.use(kind, lambda camera, spots: got.append((camera, spots)))
    enabled = browser.hears("ScenePointerEnableMessage")[-1]
    assert (enabled["event_type"], enabled["enable"]) == (kind, True)
    browser.send(
        {
            "type": "ScenePointerMessage",
            "event_type": kind,
            "ray_origin": None if kind == "rect-select" else (0.0, 0.0, 0.0),
            "ray_direction": None if kind == "rect-select" else (0.0, 0.0, 1.0),
            "screen_pos": sent,
        }
    )
    _until(lambda: bool(got))
    camera, spots = got[0]
    assert (camera.width, camera.height) == (1300, 1000)
    np.testing.assert_allclose(spots, expected)
    tool.stop()
    tool.stop()
    browser.messages.clear()
    assert not browser.hears("ScenePointerEnableMessage")[-1]["enable"]


class Scenery(torch.nn.Module):
    """The part of a pipeline that Nerfstudio's viewer uses, with the panel in it."""

    def __init__(self, driver: StudioDriver, folder: Path) -> None:
        super().__init__()
        self.datamanager = SimpleNamespace(includes_time=False)
        self.model = torch.nn.Identity()
        files = Files(driver.studio, driver.folder.parent)
        self.begun = 0
        self.control = ViewerControl()
        self.panel = SegmentPanel(
            lambda _: PanelBackend(driver.studio, files, self._begin), lambda *_: None, self.control
        )

    def _begin(self) -> None:
        self.begun += 1


@pytest.fixture
def viewer(server, still_life, tmp_path, monkeypatch):
    """Nerfstudio's own viewer with the panel; its port is taken by another server already."""
    monkeypatch.setattr(RenderStateMachine, "start", lambda _: None)  # there is no model to render
    driver = StudioDriver(still_life.scene, oracle_of(still_life), tmp_path)
    guard_viewers()
    with warnings.catch_warnings():
        # Nerfstudio leaves the sockets open that it looks for a free port with.
        warnings.simplefilter("ignore", ResourceWarning)
        viewer = Viewer(
            ViewerConfig(websocket_host="127.0.0.1", websocket_port_default=server.get_port()),
            log_filename=tmp_path / "viewer.log",
            datapath=tmp_path,
            pipeline=Scenery(driver, tmp_path),  # type: ignore[arg-type]
            train_lock=threading.Lock(),  # type: ignore[arg-type]
        )
    yield viewer
    viewer.viser_server.stop()


def test_the_panel_is_installed_at_the_top(viewer, server):
    pipeline = viewer.pipeline
    assert pipeline.begun == 1
    assert pipeline.panel.studio is not None
    assert pipeline.control.viewer is viewer
    assert viewer.viser_server.get_host() == "127.0.0.1"
    assert viewer.viser_server.get_port() != server.get_port()
    browser = Browser(viewer.viser_server)
    folders = {one["label"]: one for one in browser.hears("GuiAddFolderMessage")}
    segment = folders["Segment an object"]
    assert segment["container_id"] == "root"
    buttons = browser.hears("GuiAddButtonMessage")
    others = [one for one in buttons if one["container_id"] == "root"]
    others += browser.hears("GuiAddTabGroupMessage")
    assert len(others) > 3  # Nerfstudio's
    assert segment["order"] < min(one["order"] for one in others)
    labels = {one["label"] for one in buttons}
    assert labels >= {"Segment in 3D", "Undo", "Redo", "Export", "Stop", "Continue", "Save", "Open"}
    browser.close()
