"""The region of an image that is cut, and its resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Roi:
    """A rectangle of an image, resized.

    Attributes:
        x0, y0, x1, y1: the rectangle ``x0 <= x < x1``, ``y0 <= y < y1``, image pixels.
        width, height: its size after resizing, region pixels.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    width: int
    height: int

    @classmethod
    def around(
        cls,
        bounds: np.ndarray,
        image_hw: tuple[int, ...],
        *,
        pad: float,
        max_side: int,
        max_zoom: float,
    ) -> Roi:
        """Return the region around a bounding box.

        Args:
            bounds: [4] x0, y0, x1, y1 in image pixels, last included.
            image_hw: height and width of the image.
            pad: margin on every side, as a share of the longer side of ``bounds``.
            max_side: longest side of the region, region pixels.
            max_zoom: largest enlargement of image pixels.
        """
        height, width = image_hw
        lo_x, lo_y, hi_x, hi_y = (float(b) for b in bounds)
        margin = max(4.0, pad * max(hi_x - lo_x + 1, hi_y - lo_y + 1))
        x0 = int(np.clip(np.floor(lo_x - margin), 0, width - 1))
        y0 = int(np.clip(np.floor(lo_y - margin), 0, height - 1))
        x1 = int(np.clip(np.ceil(hi_x + margin) + 1, x0 + 1, width))
        y1 = int(np.clip(np.ceil(hi_y + margin) + 1, y0 + 1, height))
        zoom = min(max_zoom, max_side / max(x1 - x0, y1 - y0))
        return cls(x0, y0, x1, y1, max(1, round((x1 - x0) * zoom)), max(1, round((y1 - y0) * zoom)))

    @property
    def zoom_xy(self) -> np.ndarray:
        """Region pixels per image pixel in x and y: [2]."""
        return np.array([self.width / (self.x1 - self.x0), self.height / (self.y1 - self.y0)])

    @property
    def nearest_rows(self) -> np.ndarray:
        """The image row at the centre of each region row: [height]."""
        share = (np.arange(self.height) + 0.5) / self.height
        return self.y0 + (share * (self.y1 - self.y0)).astype(int)

    @property
    def nearest_columns(self) -> np.ndarray:
        """The image column at the centre of each region column: [width]."""
        share = (np.arange(self.width) + 0.5) / self.width
        return self.x0 + (share * (self.x1 - self.x0)).astype(int)

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Crop and resize an image [H, W, C] or a map [H, W]: [height, width, ...], contiguous."""
        return self._resized(image[self.y0 : self.y1, self.x0 : self.x1], self.width, self.height)

    def points(self, xy: np.ndarray) -> np.ndarray:
        """Map image pixel indices [N, 2] to continuous region pixel indices [N, 2]."""
        shifted = np.asarray(xy, np.float64).reshape(-1, 2) - (self.x0, self.y0) + 0.5
        return shifted * self.zoom_xy - 0.5

    def paste(self, mask: np.ndarray, image_hw: tuple[int, ...]) -> np.ndarray:
        """Paste a region mask [height, width] bool into an empty image mask: [H, W] bool."""
        full = np.zeros(image_hw, bool)
        soft = mask.astype(np.float32)
        full[self.y0 : self.y1, self.x0 : self.x1] = (
            self._resized(soft, self.x1 - self.x0, self.y1 - self.y0) > 0.5
        )
        return full

    @staticmethod
    def _resized(array: np.ndarray, width: int, height: int) -> np.ndarray:
        import cv2

        if array.shape[:2] == (height, width):
            return np.ascontiguousarray(array)
        shrinks = width < array.shape[1]
        return cv2.resize(
            np.ascontiguousarray(array),
            (width, height),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )


def fitted(width: int, height: int, max_side: int) -> tuple[int, int]:
    """Return width and height with the longer side reduced to at most ``max_side``."""
    zoom = min(1.0, max_side / max(width, height))
    return max(1, round(width * zoom)), max(1, round(height * zoom))
