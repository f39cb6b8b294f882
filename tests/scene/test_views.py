from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sa3d.base.errors import SA3DError
from sa3d.geometry.camera import Camera
from sa3d.scene.views import View, find_view


def view(name, path=None, size=(6, 4), **options):
    camera = Camera(torch.eye(4)[:3], 5.0, 5.0, 3.0, 2.0, *size)
    return View(name, camera, path or Path("/scene/images") / name, **options)


NAMES = [view("000023.jpg"), view("000024.jpg"), view("left/a.png"), view("right/a.png")]


@pytest.mark.parametrize(
    "name", ["000024.jpg", "images/000024.jpg", "000024", "/scene/images/000024.jpg"]
)
def test_every_spelling_finds_the_view(name):
    assert find_view(NAMES, name) is NAMES[1]


def test_a_path_with_backslashes():
    assert find_view(NAMES, "right\\a.png") is NAMES[3]


def test_an_unknown_name_lists_the_closest():
    with pytest.raises(SA3DError, match=r"no view is called '00025.jpg'.*there are 4.*000024.jpg"):
        find_view(NAMES, "00025.jpg")


def test_an_ambiguous_name_lists_the_candidates():
    with pytest.raises(SA3DError, match=r"several views: left/a.png, right/a.png"):
        find_view(NAMES, "a.png")


def test_an_empty_name():
    with pytest.raises(SA3DError, match="empty"):
        find_view(NAMES, "")


def test_image_is_rgb_at_the_cameras_size(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = view("a.png", tmp_path / "a.png").image()
    assert image.dtype == np.uint8
    assert np.array_equal(image, pixels)
    with pytest.raises(SA3DError, match="6x4 pixels, but its camera 8x4"):
        view("a.png", tmp_path / "a.png", size=(8, 4)).image()


@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_images_without_three_channels_become_rgb(tmp_path, mode):
    Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode).save(tmp_path / "a.png")
    assert np.array_equal(view("a", tmp_path / "a.png").image(), np.full((4, 6, 3), 255))


def test_transparent_pixels_show_the_background(tmp_path):
    Image.new("RGBA", (6, 4), (200, 100, 0, 51)).save(tmp_path / "a.png")
    assert view("a", tmp_path / "a.png").image()[0, 0].tolist() == [40, 20, 0]
    on_white = view("a", tmp_path / "a.png", background=(255, 255, 255)).image()
    assert on_white[0, 0].tolist() == [244, 224, 204]


@pytest.mark.parametrize("content", [None, b"", b"no image", "truncated"])
def test_unreadable_images(tmp_path, content):
    path = tmp_path / "a.png"
    if content == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        content = path.read_bytes()[:-40]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SA3DError, match=r"cannot read the photo .*a.png"):
        view("a", path).image()
