from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sa3d.base import image_files
from sa3d.base.errors import SA3DError
from sa3d.base.image_files import read_image


def test_images_are_read_completely(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    for suffix in ("png", "bmp", "tiff"):
        Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
        image = read_image(tmp_path / f"a.{suffix}")
        (tmp_path / f"a.{suffix}").unlink()
        np.testing.assert_array_equal(np.asarray(image.convert("L")), pixels)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", None])
def test_damaged_images_are_one_clear_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-800] if content is None else content)
    with pytest.raises(SA3DError, match=r"cannot read mask '.*a\.png': .*: restore it$"):
        read_image(path, "mask", remedy="restore it")


def test_what_cannot_be_opened_is_one_clear_error(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "none.png", "No such file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "a\0.png", "null"),
    ):
        with pytest.raises(SA3DError, match=message):
            read_image(path)


def test_flipped_bits_are_an_image_or_one_clear_error(tmp_path: Path) -> None:
    Image.fromarray(np.eye(8, dtype=bool)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 255
        (tmp_path / "a.png").write_bytes(changed)
        with contextlib.suppress(SA3DError):
            assert read_image(tmp_path / "a.png").size[0] > 0


def test_the_limit_of_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.ones((10, 10), dtype=bool)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)  # PIL warns from here, and fails from 120
    assert read_image(tmp_path / "a.png").size == (10, 10)
    monkeypatch.setattr(image_files, "_MAX_PIXELS", 99)
    with pytest.raises(SA3DError, match="megapixels: make it smaller"):
        read_image(tmp_path / "a.png", remedy="make it smaller")
    monkeypatch.setattr(image_files, "_MAX_PIXELS", 100)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(SA3DError, match="megapixels"):
        read_image(tmp_path / "a.png")


def test_postscript_is_not_given_to_a_program(tmp_path: Path) -> None:
    text = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "a.png").write_bytes(text)
    with pytest.raises(SA3DError, match="EPS files are not read"):
        read_image(tmp_path / "a.png")
