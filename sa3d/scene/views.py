"""Views: cameras with their photos, and names that users can type."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from sa3d.base.errors import SA3DError
from sa3d.base.image_files import read_image
from sa3d.geometry.camera import Camera


@dataclass(frozen=True)
class View:
    """A camera with its photo.

    Attributes:
        name: path of the photo below the image folder of the data set, such as ``000024.jpg``.
        camera: in the world frame, at the photo's own size; ``camera.index`` is the position among
            the training images, -1 if the field was not trained on this photo.
        image_path: the photo's file.
        background: RGB in [0, 255], the color behind transparent pixels.

    Example:
        >>> view = find_view(scene.views, "000024")
        >>> view.image().shape == (view.camera.height, view.camera.width, 3)
        True
    """

    name: str
    camera: Camera
    image_path: Path
    background: tuple[int, int, int] = (0, 0, 0)

    def image(self) -> np.ndarray:
        """Read the photo as an image [H, W, 3] uint8 RGB at the camera's size.

        A rotation in the file's EXIF data is ignored, as the cameras were made without it.

        Raises:
            SA3DError: the file is missing or unreadable, or its size is not the camera's.
        """

        def check_size(width: int, height: int) -> None:
            if (width, height) != (self.camera.width, self.camera.height):
                raise SA3DError(
                    f"{self.image_path} has {width}x{height} pixels, but its camera "
                    f"{self.camera.width}x{self.camera.height}: restore the photo that the cameras "
                    "were made for"
                )

        image = read_image(
            self.image_path, "the photo", check_size=check_size, remedy="restore the file"
        )
        transparent = "A" in image.getbands() or "transparency" in image.info
        pixels = np.asarray(image.convert("RGBA" if transparent else "RGB"))
        if not transparent:
            return pixels
        alpha = pixels[..., 3:].astype(np.float32) / 255
        behind = np.asarray(self.background, dtype=np.float32)
        blended = pixels[..., :3] * alpha + behind * (1 - alpha)
        return np.rint(blended).astype(np.uint8)


def find_view(views: Sequence[View], name: str) -> View:
    """Find a view by a name that a user typed.

    Args:
        views: of a scene.
        name: a view's name (``000024.jpg``), a longer path to its photo (``images/000024.jpg``), or
            the name without its suffix (``000024``).

    Raises:
        SA3DError: no view has that name (the closest names are listed), or several views have it.
    """
    wanted = PurePosixPath(name.replace("\\", "/")).parts
    if not wanted:
        raise SA3DError("the name of a view is empty: give the name of a photo")
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
