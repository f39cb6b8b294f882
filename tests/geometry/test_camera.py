from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sa3d.geometry.camera import Camera, Rays
from sa3d.scene.view_operator import unproject
from sa3d.testing.analytic_scene import look_at

LENS = (-0.12, 0.03, 0.004, -0.001, 0.002, -0.003)

PLAIN = Camera(
    c2w=torch.tensor([[1.0, 0, 0, 1.0], [0, 1, 0, 2.0], [0, 0, 1, 3.0]]),
    fx=100.0,
    fy=50.0,
    cx=40.0,
    cy=30.0,
    width=80,
    height=60,
)


def test_project_by_hand() -> None:
    # Two units ahead of the camera (along -z), one to the right, half a unit up.
    xy, z = PLAIN.project(torch.tensor([[2.0, 2.5, 1.0]]))
    assert z.tolist() == [2.0]
    assert xy.tolist() == [[100 * 0.5 + 40, -50 * 0.25 + 30]]


def test_points_behind_have_negative_z() -> None:
    xy, z = PLAIN.project(torch.tensor([[1.0, 2.0, 5.0], [1.0, 2.0, 3.0]]))
    assert z.tolist() == [-2.0, 0.0]
    assert torch.isfinite(xy).all()


def test_in_image_by_hand() -> None:
    # Two units ahead the image covers 1.6 by 2.4 units around (1, 2).
    ahead = [
        [1.0, 2.0, 1.0],
        [1.79, 2.0, 1.0],
        [1.81, 2.0, 1.0],
        [1.0, 3.19, 1.0],
        [1.0, 3.21, 1.0],
    ]
    behind = [1.0, 2.0, 5.0]
    inside = PLAIN.in_image(torch.tensor([*ahead, behind]))
    assert inside.tolist() == [True, True, False, True, False, False]


def test_rays_by_hand() -> None:
    rays = PLAIN.pixel_rays(torch.tensor([[39, 29], [139, 29]]))
    assert rays.origins.tolist() == [[1.0, 2.0, 3.0]] * 2
    expected = torch.tensor([[-0.005, 0.01, -1.0], [0.995, 0.01, -1.0]])
    torch.testing.assert_close(rays.directions, expected / expected.norm(dim=1, keepdim=True))


def test_distortion_by_hand() -> None:
    # OpenCV: x = 0.5, y = -0.25 (down), r2 = 0.3125.
    camera = Camera(**(vars(PLAIN) | {"distortion": (0.1, 0.01, 0.0, 0.0, 0.02, -0.03)}))
    radial = 1 + 0.1 * 0.3125 + 0.01 * 0.3125**2
    dx = 2 * 0.02 * 0.5 * -0.25 + -0.03 * (0.3125 + 2 * 0.25)
    dy = 2 * -0.03 * 0.5 * -0.25 + 0.02 * (0.3125 + 2 * 0.0625)
    xy, _ = camera.project(torch.tensor([[2.0, 2.5, 1.0]]))
    expected = [100 * (0.5 * radial + dx) + 40, 50 * (-0.25 * radial + dy) + 30]
    assert xy[0].tolist() == pytest.approx(expected, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    x=st.integers(0, 63),
    y=st.integers(0, 47),
    depth=st.floats(0.1, 50),
    angle=st.floats(0, 2 * math.pi),
    lens=st.sampled_from([None, LENS]),
)
def test_unprojected_pixels_project_to_their_centres(x, y, depth, angle, lens) -> None:
    position = (2 * math.cos(angle), 2 * math.sin(angle), 0.7)
    camera = Camera(**(vars(look_at(position, (0, 0, 0), (64, 48))) | {"distortion": lens}))
    rays = camera.pixel_rays(torch.tensor([[x, y]]))
    assert rays.directions.norm().item() == pytest.approx(1, abs=1e-5)
    xy, z = camera.project(unproject(rays, torch.tensor([depth])))
    assert xy[0].tolist() == pytest.approx([x + 0.5, y + 0.5], abs=0.01)
    assert z.item() == pytest.approx(depth * (rays.directions @ camera.forward).item(), rel=1e-3)


@pytest.mark.parametrize("lens", [None, LENS])
def test_resized_cameras_project_alike(lens) -> None:
    camera = Camera(**(vars(PLAIN) | {"distortion": lens}))
    small = camera.resized(40, 20)
    points = torch.tensor([[1.5, 2.2, 1.0], [0.4, 1.6, -2.0]])
    big_xy, big_z = camera.project(points)
    small_xy, small_z = small.project(points)
    torch.testing.assert_close(small_xy, big_xy * torch.tensor([0.5, 1 / 3]))
    torch.testing.assert_close(small_z, big_z)
    back = small.resized(80, 60)
    assert (back.fx, back.fy, back.cx, back.cy) == pytest.approx((100, 50, 40, 30))
    assert (back.width, back.height, back.distortion) == (80, 60, lens)


@pytest.mark.parametrize(
    ("side", "expected"), [(40, (40, 30)), (80, (80, 60)), (500, (80, 60)), (1, (1, 1))]
)
def test_fitted_never_enlarges(side: int, expected: tuple[int, int]) -> None:
    fitted = PLAIN.fitted(side)
    assert (fitted.width, fitted.height) == expected


def test_image_rays_run_row_by_row() -> None:
    camera = PLAIN.resized(5, 3)
    rays = camera.image_rays()
    assert len(rays) == 15
    torch.testing.assert_close(
        rays[7:8].directions, camera.pixel_rays(torch.tensor([[2, 1]])).directions
    )


def test_rays_slice_and_select() -> None:
    rays = Rays(torch.arange(12.0).reshape(4, 3), torch.ones(4, 3))
    assert rays[1:3].origins.tolist() == [[3, 4, 5], [6, 7, 8]]
    assert rays[torch.tensor([True, False, False, True])].origins[:, 0].tolist() == [0, 9]


def test_forward_and_position() -> None:
    camera = look_at((0.0, -3.0, 0.0), (0.0, 0.0, 0.0), (8, 6))
    assert camera.position.tolist() == [0, -3, 0]
    assert camera.forward.tolist() == pytest.approx([0, 1, 0])
    xy, _ = camera.project(torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.0, 0.1]]))
    assert xy[0, 0] > camera.cx  # world x lies to the right
    assert xy[1, 1] < camera.cy  # world z lies up


@pytest.mark.parametrize("lens", [None, LENS])
def test_rays_know_the_area_of_their_pixels(
    lens: tuple[float, float, float, float, float, float] | None,
) -> None:
    camera = replace(PLAIN, distortion=lens)
    rays = camera.image_rays()
    assert rays.pixel_area is not None
    area = rays.pixel_area.reshape(camera.height, camera.width)
    directions = rays.directions.reshape(camera.height, camera.width, 3)
    across = (directions[:-1, 1:] - directions[:-1, :-1]).norm(dim=-1)
    down = (directions[1:, :-1] - directions[:-1, :-1]).norm(dim=-1)
    torch.testing.assert_close(area[:-1, :-1], across * down)
    half = camera.fitted(40).image_rays().pixel_area
    assert half is not None
    assert half.mean() == pytest.approx(4 * area.mean().item(), rel=0.05)
    assert torch.equal(rays[3:5].pixel_area, rays.pixel_area[3:5])  # pyright: ignore
    assert Rays(rays.origins, rays.directions)[3:5].pixel_area is None
