"""Images and videos of an object: masks, overlays, cut-outs, and scenes without the object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sa3d.base.errors import SA3DError
from sa3d.base.storage import atomic_path, check_new_file
from sa3d.fields.radiance_field import RadianceField
from sa3d.geometry.camera import Camera
from sa3d.objects.colors import Color
from sa3d.objects.segmentation import Segmentation
from sa3d.results.config import Kind
from sa3d.results.final_masks import final_mask
from sa3d.results.masked_field import MaskedField
from sa3d.results.object_volume import ObjectVolume, cell_size, object_volume
from sa3d.scene.scene import Scene

_TINT_SHARE = 0.45


@dataclass
class ObjectRenderer:
    """A renderer of one object, over photos and from any camera.

    The object's volume is built once, for all images.

    Raises:
        SA3DError: there is no such object, or it is empty.

    Example:
        >>> renderer = ObjectRenderer(scene, segmentation, "mug")
        >>> save_image(Path("mug.png"), renderer.over_photo(0, "object"))
    """

    scene: Scene
    segmentation: Segmentation
    name: str
    chunk: int = 1 << 12
    """Number of rays rendered at once; limits memory."""

    def __post_init__(self) -> None:
        self.volume: ObjectVolume = object_volume(self.scene, self.segmentation, self.name)
        self.color: Color = self.segmentation.colors[self.name]

    def over_photo(self, view_index: int, kind: Kind) -> np.ndarray:
        """Return an image of kind ``kind`` over the photo of a view, at the photo's size.

        ``removed`` is rendered by the field; the other kinds use the pixels of the photo.

        Returns:
            uint8 [H, W] for ``mask``, [H, W, 4] for ``object``, [H, W, 3] otherwise.
        """
        view = self.scene.views[view_index]
        if kind == "removed":
            return self.from_camera(view.camera, kind)
        mask, probability = final_mask(self.scene, self.segmentation, self.name, view_index)
        if kind == "mask":
            return mask.astype(np.uint8) * 255
        image = view.image()
        if kind == "overlay":
            return tinted(image, mask, self.color)
        alpha = np.where(mask, np.maximum(probability, 0.5), 0.0)
        return np.dstack([image, np.rint(alpha * 255).astype(np.uint8)])

    def from_camera(self, camera: Camera, kind: Kind) -> np.ndarray:
        """Render an image of kind ``kind`` from any camera with the field, at the camera's size.

        Returns:
            uint8 [H, W] for ``mask``, [H, W, 4] for ``object``, [H, W, 3] otherwise.
        """
        field = self.scene.field
        if kind == "removed":
            return _pixels(self._rendered(MaskedField(field, self.volume, "rest"), camera)[..., :3])
        if kind == "object":
            alone = MaskedField(field, self.volume, "object")
            lone = self._rendered(alone, camera, self._near(camera))
            alpha = lone[..., 3:4]
            over_white = lone[..., :3]
            rgb = (over_white - (1 - alpha)) / alpha.clamp_min(1e-3)
            return _pixels(torch.cat([torch.where(alpha > 0, rgb, 1.0), alpha], dim=-1))
        rendered = self._rendered(field, camera)
        mask = (rendered[..., 4] > 0.5).cpu().numpy()
        if kind == "mask":
            return mask.astype(np.uint8) * 255
        return tinted(_pixels(rendered[..., :3]), mask, self.color)

    def _rendered(
        self, field: RadianceField, camera: Camera, wanted: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Render RGB, accumulation, and the object's share of the weights: [H, W, 5].

        Pixels that are not ``wanted`` [H * W] are white and empty.
        """
        rays = camera.image_rays()
        out = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0]).repeat(len(rays), 1)
        pixels = torch.arange(len(rays)) if wanted is None else torch.nonzero(wanted)[:, 0]
        for some in pixels.split(self.chunk):
            render = field.render(rays[some], camera.index)
            share = self.volume.share_at(render.positions).to(render.weights)
            light = (render.weights * share).sum(-1) / render.accumulation.clamp_min(1e-3)
            share = torch.where(render.accumulation > 0.5, light, 0.0)
            columns = (render.rgb, render.accumulation[:, None], share[:, None])
            out[some] = torch.cat([column.cpu() for column in columns], dim=-1)
        return out.reshape(camera.height, camera.width, 5)

    def _near(self, camera: Camera) -> torch.Tensor:
        """Return the pixels, bool [H * W], that may see the object's voxels."""
        volume, (height, width) = self.volume, (camera.height, camera.width)
        unit = torch.nonzero(volume.share > 0.5) + volume.corner + 0.5
        unit = unit / volume.grid.resolution
        pixels, z = camera.project(volume.grid.bounds.to_world(unit).cpu())
        reach = 3**0.5 * cell_size(volume.grid, unit).cpu()  # reach of the interpolation
        if not bool((z > 2 * reach).all()):
            return torch.ones(height * width, dtype=torch.bool)
        margin = int((reach * max(camera.fx, camera.fy) / (z - reach)).max()) + 2
        x, y = (pixels.floor().long() + margin).unbind(dim=-1)
        seen = torch.zeros(height + 2 * margin, width + 2 * margin)
        inside = (x >= 0) & (x < seen.shape[1]) & (y >= 0) & (y < seen.shape[0])
        seen[y[inside], x[inside]] = 1
        side = 2 * margin + 1
        return torch.nn.functional.max_pool2d(seen[None, None], side, stride=1).reshape(-1) > 0


def tinted(image: np.ndarray, mask: np.ndarray, color: Color) -> np.ndarray:
    """Tint an image, uint8 [H, W, 3], where a mask [H, W] bool is set, and outline the mask."""
    tint = np.array(color, dtype=np.float32)
    mixed = image * (1 - _TINT_SHARE) + tint * _TINT_SHARE
    out = np.where(mask[..., None], mixed, image)
    values = torch.from_numpy(mask).float()[None, None]
    eroded = -torch.nn.functional.max_pool2d(-values, 3, stride=1, padding=1)
    outline = (values - eroded)[0, 0].numpy() > 0.5
    out[outline] = tint
    return np.rint(out).astype(np.uint8)


def save_image(path: Path, pixels: np.ndarray, *, overwrite: bool = False) -> None:
    """Write uint8 pixels [H, W], [H, W, 3] or [H, W, 4] as an image in the format of the suffix.

    Raises:
        SA3DError: the file exists and ``overwrite`` is False, or the suffix is no image format.
    """
    from PIL import Image

    check_new_file(path, overwrite)
    if path.suffix.lower() not in Image.registered_extensions():
        raise SA3DError(f"unknown image format {path.name!r}: use a name with .png")
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary)


def save_video(
    path: Path, frames: Iterable[np.ndarray], fps: float, *, overwrite: bool = False
) -> int:
    """Write frames, uint8 [H, W], [H, W, 3] or [H, W, 4] (over white), as an H.264 MP4.

    The format needs even sides, so an odd last row or column is cut off.

    Args:
        path: ends in ``.mp4``.
        frames: all of one size.
        fps: frames per second.
        overwrite: replace a file that exists.

    Returns:
        The number of frames.

    Raises:
        SA3DError: the file exists and ``overwrite`` is False, the suffix is wrong, there are no
            frames, or PyAV is not installed.
    """
    check_new_file(path, overwrite)
    if path.suffix.lower() != ".mp4":
        raise SA3DError(f"a video is written as .mp4, not as {path.suffix or 'no suffix'!r}")
    with atomic_path(path) as temporary:
        count = _encode(temporary, frames, fps)
        if count == 0:
            raise SA3DError(f"{path.name}: no frames to write")
    return count


def _encode(path: Path, frames: Iterable[np.ndarray], fps: float) -> int:
    try:
        import av
    except ImportError as error:
        raise SA3DError("writing videos needs PyAV: pip install av") from error
    from fractions import Fraction

    count, stream = 0, None
    with av.open(str(path), mode="w", format="mp4") as container:
        for pixels in frames:
            rgb = _even(_over_white(pixels))
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
                stream.height, stream.width = rgb.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.options = {"crf": "18"}
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            count += 1
        if stream is not None:
            container.mux(stream.encode())
    return count


def _over_white(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return np.rint(pixels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def _even(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[0] // 2 * 2, rgb.shape[1] // 2 * 2
    return np.ascontiguousarray(rgb[:height, :width])


def _pixels(values: torch.Tensor) -> np.ndarray:
    return (values.clamp(0, 1) * 255).round().byte().cpu().numpy()
