"""Nerfstudio's own render thread gets full-size pictures in slices until they are finished."""

import threading
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ball_and_wall import GRID, BallAndWall, camera_at, in_ball, objects
from nerfstudio.utils.colormaps import ColormapOptions
from nerfstudio.viewer.render_state_machine import RenderAction, RenderStateMachine
from nerfstudio.viewer.utils import CameraState, CameraType
from solid_blocks import block_where

from nerfstudio_plugin.display.renderer import DisplayRenderer
from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.display.viewer_request import current_request


@pytest.fixture
def field():
    return BallAndWall()


@pytest.fixture
def renderer(field):
    return DisplayRenderer(field, torch.ones(3))


@pytest.fixture
def shown():
    return objects({"ball": block_where(GRID, in_ball)}, ball=in_ball)


class Model:
    """The part of a model that the render thread uses."""

    training = False
    device = torch.device("cpu")

    def __init__(self, renderer, shown):
        self.renderer, self.shown, self.display, self.requests = renderer, shown, Display(), []

    def eval(self):
        return self

    def get_outputs_for_camera(self, camera, obb_box=None):
        self.requests.append(current_request(camera))
        outputs = self.renderer.outputs(self.requests[-1], self.display, self.shown)
        small = int(camera.height), int(camera.width)
        return outputs | {"depth": torch.full((*small, 1), 2.0)}


def viewer_of(model, max_res=96):
    """A viewer with the public attributes that Nerfstudio 1.1.5's render thread uses."""
    assert version("nerfstudio") == "1.1.5"
    c2w = camera_at().camera_to_worlds[0].double()
    state = CameraState(fov=0.76, aspect=1.25, c2w=c2w, camera_type=CameraType.PERSPECTIVE)
    panel = SimpleNamespace(
        max_res=max_res,
        split=False,
        crop_viewport=False,
        layer_depth=True,
        output_render="rgb",
        colormap_options=ColormapOptions(),
        update_output_options=lambda names: None,
    )
    return SimpleNamespace(
        control_panel=panel,
        render_tab_state=SimpleNamespace(preview_render=False),
        include_time=False,
        ready=True,
        step=0,
        train_lock=threading.Lock(),
        config=SimpleNamespace(jpeg_quality=90, image_format="jpeg"),
        stats_markdown=SimpleNamespace(content=""),
        make_stats_markdown=lambda step, res: res,
        update_colormap_options=lambda **options: None,
        get_model=lambda: model,
        get_camera_state=lambda client: state,
    )


def test_the_viewer_gets_full_size_at_once_and_comes_again_until_it_is_finished(
    renderer, field, shown
):
    model, pictures, finished = Model(renderer, shown), [], threading.Event()
    viewer = viewer_of(model)

    def show(image, depth, **options):
        pictures.append(image)
        assert depth.shape[:2] != image.shape[:2] or machine.state == "high"
        if field.rays == 76 * 96:
            finished.set()

    client = SimpleNamespace(
        camera=SimpleNamespace(aspect=1.25), scene=SimpleNamespace(set_background_image=show)
    )
    machine = RenderStateMachine(viewer, 1.0, client)
    machine.action(RenderAction("move", viewer.get_camera_state(client)))
    machine.start()
    assert finished.wait(30)
    machine.running = False
    machine.join()
    assert {picture.shape for picture in pictures} == {(76, 96, 3)}
    assert all(request.seconds is not None for request in model.requests)


def test_a_split_image_has_one_size(renderer, shown):
    model = Model(renderer, shown)
    viewer = viewer_of(model)
    viewer.control_panel.split = True
    machine = RenderStateMachine(viewer, 1.0, SimpleNamespace())
    machine.run = lambda: model.get_outputs_for_camera(camera_at())
    machine.start()
    machine.join()
    assert int(model.requests[0].camera.height) == 24
    model.requests[0].again()
    assert machine.next_action.action == "step"


def test_anything_else_waits_for_the_whole_image():
    request = current_request(camera_at())
    assert request.seconds is None
    assert int(request.camera.height) == 24
    assert np.isfinite(request.camera.camera_to_worlds.numpy()).all()
