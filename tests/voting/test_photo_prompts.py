"""Tests of prompts from a free camera that are moved to a photo."""

import pytest
import torch

from sa3d.base.errors import SA3DError
from sa3d.segmenters.graphcut.segmenter import GraphCutSegmenter
from sa3d.testing.analytic_scene import BALL, look_at
from sa3d.voting.photo_prompts import photo_box, photo_point, surface_point

SIZE = (400, 300)
CENTER = torch.tensor(BALL.center)


@pytest.fixture
def scene(still_life):
    return still_life.scene


def free_camera(position):
    return look_at(position, BALL.center, SIZE)


def middle_of(camera):
    return ((camera.width - 1) / 2, (camera.height - 1) / 2)


def test_the_surface_under_a_click(scene):
    camera = free_camera((2.0, 0.1, 0.6))
    point = surface_point(scene, camera, middle_of(camera))
    assert float((point - CENTER).norm()) == pytest.approx(BALL.radius, abs=0.02)
    towards = torch.nn.functional.normalize(camera.position - CENTER, dim=0)
    assert float((point - CENTER) @ towards) == pytest.approx(BALL.radius, abs=0.02)


def test_nothing_is_under_a_click_at_the_sky(scene):
    camera = look_at((2.0, 0.0, 0.5), (4.0, 0.0, 3.0), SIZE)
    with pytest.raises(SA3DError, match="nothing solid"):
        surface_point(scene, camera, middle_of(camera))


def test_a_photo_shows_what_was_clicked_in_its_own_place(scene):
    for index, view in enumerate(scene.views):
        xy = (20.0, 17.0)
        point = surface_point(scene, view.camera, xy)
        found = photo_point(scene, view.camera, point)
        assert found.view == index
        assert found.xy_px == xy


def test_a_click_ends_in_a_photo_that_sees_the_point(scene, still_life):
    camera = free_camera((1.2, 1.4, 0.9))
    point = surface_point(scene, camera, middle_of(camera))
    found = photo_point(scene, camera, point)
    x, y = (int(value) for value in found.xy_px)
    assert still_life.masks["ball"][found.view, y, x]
    prepared = scene.prepared(found.view)
    assert float((prepared.points_world[y, x] - point).norm()) < 0.1


def test_the_far_side_is_never_taken_for_the_near_one(scene, still_life):
    """A point at the ball's back is seen by photos from behind only."""
    camera = free_camera((2.0, 0.1, 0.3))
    behind = CENTER + torch.tensor([-BALL.radius, 0.0, 0.0])
    found = photo_point(scene, camera, behind)
    position = scene.views[found.view].camera.position
    assert float((position - behind) @ torch.tensor([-1.0, 0.0, 0.0])) > 0


def test_clicks_that_belong_together_stay_in_one_photo(scene):
    """From between two photos either would do; from a third one's place only that one."""
    three, four = scene.views[3].camera, scene.views[4].camera
    between = look_at(tuple((three.position + four.position) / 2), BALL.center, SIZE)
    point = surface_point(scene, between, middle_of(between))
    assert photo_point(scene, between, point, used=[3]).view == 3
    assert photo_point(scene, between, point, used=[4]).view == 4
    assert photo_point(scene, scene.views[3].camera, point, used=[6]).view == 3


def test_a_place_no_photo_shows(scene):
    with pytest.raises(SA3DError, match="no photo shows"):
        photo_point(scene, free_camera((2.0, 0.0, 0.0)), torch.tensor([0.0, 0.0, -0.59]))


def test_a_box_at_a_photos_place_is_carried_over_exactly(scene):
    camera = scene.views[2].camera
    larger = camera.resized(camera.width * 8, camera.height * 8)
    box = (10.0, 8.0, 30.0, 28.0)
    enlarged = tuple((value + 0.5) * 8 - 0.5 for value in box)
    found = photo_box(scene, larger, enlarged, GraphCutSegmenter())
    assert found.view == 2
    assert found.box_px == pytest.approx(box, abs=1)


def test_a_box_elsewhere_finds_the_object(scene, still_life):
    camera = free_camera((1.4, 1.0, 0.8))
    center, _ = camera.project(CENTER[None])
    half = camera.fx * BALL.radius / float((camera.position - CENTER).norm()) * 1.15
    x, y = center[0].tolist()
    found = photo_box(scene, camera, (x - half, y - half, x + half, y + half), GraphCutSegmenter())
    rows, columns = still_life.masks["ball"][found.view].nonzero()
    exact = (columns.min(), rows.min(), columns.max(), rows.max())
    assert found.box_px == pytest.approx(exact, abs=3)


def test_a_box_around_nothing(scene):
    camera = look_at((2.0, 0.0, 0.5), (4.0, 0.0, 3.0), SIZE)
    with pytest.raises(SA3DError, match="nothing solid"):
        photo_box(scene, camera, (50.0, 50.0, 120.0, 120.0), GraphCutSegmenter())
