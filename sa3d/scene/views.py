"""The photos of a scene: a name users can type, a camera, an image file."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from sa3d.base.errors import SA3DError
from sa3d.geometry.camera import Camera


@dataclass(frozen=True)
class View:
    """One photo and the camera that took it.

    Attributes:
        name: path of the image below the scene's image folder, as in ``000024.jpg``.
        camera: at the image file's own size, world frame; ``camera.index`` is the position among
            the training images, -1 for an image the field was not trained on.
        image_path: the image file.
        background: RGB in [0, 255] put behind transparent pixels.
    """

    name: str
    camera: Camera
    image_path: Path
    background: tuple[int, int, int] = (0, 0, 0)

    def image(self) -> np.ndarray:
        """Read the photo: [H, W, 3] uint8 RGB at the camera's size, EXIF rotation ignored.

        Raises:
            SA3DError: the file is missing, unreadable, or not of the camera's size.
        """
        from PIL import Image

        try:
            with Image.open(self.image_path) as file:
                transparent = "A" in file.getbands() or "transparency" in file.info
                pixels = np.asarray(file.convert("RGBA" if transparent else "RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise SA3DError(
                f"cannot read the image {self.image_path} ({error}); restore the file"
            ) from error
        expected = (self.camera.height, self.camera.width)
        if pixels.shape[:2] != expected:
            raise SA3DError(
                f"{self.image_path} has {pixels.shape[1]}x{pixels.shape[0]} pixels, its camera "
                f"{expected[1]}x{expected[0]}; restore the image the cameras were made for"
            )
        if not transparent:
            return pixels
        alpha = pixels[..., 3:].astype(np.float32) / 255
        behind = np.asarray(self.background, dtype=np.float32)
        blended = pixels[..., :3] * alpha + behind * (1 - alpha)
        return np.rint(blended).astype(np.uint8)


def find_view(views: Sequence[View], name: str) -> View:
    """The view a user means by a name: ``000024.jpg``, ``images/000024.jpg``, a path or ``000024``.

    Raises:
        SA3DError: no view has that name (the closest names are listed), or several have.
    """
    wanted = PurePosixPath(name.replace("\\", "/")).parts
    if not wanted:
        raise SA3DError("the name of a view is empty; give an image's file name")
    matches = [view for view in views if view.name == name]
    if not matches:
        matches = [view for view in views if view.image_path.parts[-len(wanted) :] == wanted]
    if not matches:
        matches = [view for view in views if _without_suffix(view.name) == name]
    if len(matches) == 1:
        return matches[0]
    if matches:
        several = ", ".join(view.name for view in matches[:5])
        raise SA3DError(f"{name!r} names several views: {several}; give the longer name")
    names = [view.name for view in views]
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.5) or names[:5]
    raise SA3DError(
        f"no view is called {name!r}; there are {len(names)}, for example {', '.join(near)}"
    )


def _without_suffix(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
