"""Reads image files, which anybody may have written: with one clear error for all that is wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sa3d.base.errors import SA3DError

if TYPE_CHECKING:
    from PIL.Image import Image

_MAX_PIXELS = 178_000_000
"""The most that PIL decodes, to be safe from files that claim to be huge."""
_RUN_PROGRAMS = ("EPS", "WMF")
"""Formats that PIL gives to another program to draw."""


def read_image(
    path: Path,
    what: str = "image",
    *,
    check_size: Callable[[int, int], None] | None = None,
    remedy: str = "",
) -> Image:
    """Read an image file, decoded completely.

    Args:
        path: the file.
        what: the kind of image in words, for messages.
        check_size: called with width and height before a pixel is decoded.
        remedy: added to messages.

    Raises:
        SA3DError: the file is missing, damaged, no image, or has more than 178 megapixels.

    Example:
        >>> read_image(Path("mug.png"), "mask").size
        (640, 480)
    """
    from PIL import Image

    name = f"{what} {str(path)!r}"
    ending = f": {remedy}" if remedy else ""
    with warnings.catch_warnings():  # there is a limit of our own
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                width, height = image.size
                if width * height > _MAX_PIXELS:
                    raise Image.DecompressionBombError
                if image.format in _RUN_PROGRAMS:
                    raise ValueError(f"{image.format} files are not read")
                if check_size is not None:
                    check_size(width, height)
                image.load()
                return image
        except SA3DError:
            raise
        except Image.DecompressionBombError as error:
            raise SA3DError(
                f"{name} has more than {_MAX_PIXELS // 10**6} megapixels{ending}"
            ) from error
        except Exception as error:  # PIL's readers raise errors of many kinds on damaged files
            reason = getattr(error, "strerror", None) or error or type(error).__name__
            raise SA3DError(f"cannot read {name}: {reason}{ending}") from error
