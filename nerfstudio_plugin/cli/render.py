"""``sa3d render``: images of a segmentation, over photos or along a camera path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from nerfstudio_plugin.cli.options import ReportOptions, SavedOptions, run
from nerfstudio_plugin.cli.terminal import OUT, progress_bar
from sa3d.base.errors import SA3DError
from sa3d.base.storage import check_new_file
from sa3d.results.config import Kind

if TYPE_CHECKING:
    import numpy as np

    from nerfstudio_plugin.saved.segmentation_folder import ExportSource
    from sa3d.geometry.camera_path import CameraPath
    from sa3d.results.rendering import ObjectRenderer

_HELP = """Render images of a segmentation, as PNG files or as a video.

kinds: mask      white where the object is
       overlay   the photo, tinted and outlined where the object is
       object    the object cut out, on a transparent background
       removed   the scene without the object

examples:
  sa3d render --segmentation ball --kind overlay --output ball_overlay
  sa3d render --segmentation ball --kind object --views 000024.jpg 000031.jpg --output ball_cut
  sa3d render --segmentation ball --kind removed --camera-path camera_path.json --output gone.mp4
"""


@dataclass(kw_only=True)
class Render(ReportOptions, SavedOptions):
    """Render images of a segmentation."""

    output: Path
    """A folder (gets <object>/<photo>.png), or an .mp4 for one object."""
    kind: Kind = "overlay"
    """Kind of images; see above."""
    views: tuple[str, ...] = ()
    """Only these photos; all by default."""
    camera_path: Path | None = None
    """Camera path saved by Nerfstudio's viewer, instead of the photos."""
    max_side: int | None = None
    """Longest side of images along a camera path, in pixels; the path's own size by default."""
    fps: float | None = None
    """Images per second of a video; the camera path's own, or 6 for photos."""
    overwrite: bool = False
    """Replace files that are there already."""


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d render``.

    Raises:
        SA3DError: a problem that the user can solve.
    """
    run(_run, Render, arguments, "sa3d render", _HELP)


def _run(command: Render) -> None:
    from sa3d.geometry.camera_path import load_camera_path

    path = None
    if command.camera_path is not None:
        if command.views:
            raise SA3DError("give --views or --camera-path, not both")
        path = load_camera_path(command.camera_path)
    opened = command.reopen().export_source
    names = command.chosen(opened.segmentation)
    indices = [opened.scene.view_index(view) for view in command.views]
    indices = indices or list(range(len(opened.scene.views)))
    if command.output.suffix.lower() == ".mp4":
        files = _write_video(command, opened, names, path, indices)
    else:
        files = _write_images(command, opened, names, path, indices)
    command.write_report({"kind": command.kind, "files": files})


def _write_video(
    command: Render,
    opened: ExportSource,
    names: Sequence[str],
    path: CameraPath | None,
    indices: Sequence[int],
) -> dict[str, list[str]]:
    """Write the video of one object; return its file by the object's name."""
    from sa3d.results.rendering import ObjectRenderer, save_video

    if len(names) != 1:
        raise SA3DError(
            f"a video shows one object, there are {len(names)} ({', '.join(names)}): choose "
            "one with --objects"
        )
    check_new_file(command.output, command.overwrite)
    renderer = ObjectRenderer(opened.scene, opened.segmentation, names[0])
    frames = _frames(command, renderer, path, indices)
    fps = command.fps or (path.fps if path else 6.0)
    count = save_video(command.output, frames, fps, overwrite=command.overwrite)
    OUT.print(f"{names[0]}: {count} pictures in {command.output}")
    return {names[0]: [str(command.output)]}


def _write_images(
    command: Render,
    opened: ExportSource,
    names: Sequence[str],
    path: CameraPath | None,
    indices: Sequence[int],
) -> dict[str, list[str]]:
    """Write a folder of images per object; return the files by the objects' names."""
    from sa3d.export.masks import mask_names
    from sa3d.results.rendering import ObjectRenderer, save_image

    if path is None:
        of_views = mask_names(opened.scene.views)
        file_names = [of_views[index] for index in indices]
    else:
        file_names = [PurePosixPath(f"frame_{i:05d}.png") for i in range(len(path.cameras))]
    places = {name: [command.output / name / file for file in file_names] for name in names}
    for place in (place for row in places.values() for place in row):
        check_new_file(place, command.overwrite)
    for name, row in places.items():
        renderer = ObjectRenderer(opened.scene, opened.segmentation, name)
        for place, pixels in zip(row, _frames(command, renderer, path, indices), strict=True):
            save_image(place, pixels, overwrite=command.overwrite)
        OUT.print(f"{name}: {len(row)} pictures in {command.output / name}")
    return {name: [str(place) for place in row] for name, row in places.items()}


def _frames(
    command: Render, renderer: ObjectRenderer, path: CameraPath | None, indices: Sequence[int]
) -> Iterator[np.ndarray]:
    """Yield the images of one object, under a progress bar."""
    with progress_bar() as bar:
        title = f"{renderer.name}: {command.kind}"
        if path is None:
            for index in bar.track(indices, description=title):
                yield renderer.over_photo(index, command.kind)
        else:
            for camera in bar.track(path.cameras, description=title):
                fitted = camera.fitted(command.max_side) if command.max_side else camera
                yield renderer.from_camera(fitted, command.kind)
