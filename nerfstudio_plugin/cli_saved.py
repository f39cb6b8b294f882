"""A saved segmentation, opened again together with the scene it was made in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nerfstudio_plugin.cli_options import RunOptions, torch_device
from nerfstudio_plugin.cli_progress import prepare_with_progress
from sa3d.checkpoint import load_segmentation
from sa3d.config import settings_from_dict
from sa3d.errors import SA3DError
from sa3d.export.frames import Frame, Placement
from sa3d.scene import Scene
from sa3d.segmentation import Segmentation

if TYPE_CHECKING:
    from nerfstudio_plugin.loading import OpenedRun


def placement(run: OpenedRun, frame: Frame) -> Placement:
    """The way from a run's world frame to the one asked for."""
    if frame == "nerfstudio":
        return Placement.nerfstudio()
    return Placement.original(run.dataparser_transform.numpy(), run.dataparser_scale)


@dataclass(frozen=True)
class Reopened:
    """A segmentation, its prepared scene, the run behind it, and what its maker noted."""

    run: OpenedRun
    scene: Scene
    segmentation: Segmentation
    provenance: dict[str, Any]

    def placement(self, frame: Frame) -> Placement:
        """The way from the scene's world frame to the one asked for."""
        return placement(self.run, frame)


@dataclass(kw_only=True)
class SavedOptions:
    """Which segmentation."""

    segmentation: Path
    """Folder written by sa3d segment."""
    objects: tuple[str, ...] = ()
    """Only these objects; all by default."""
    load_config: Path | None = None
    """The run's config.yml, if it was moved since."""
    data: Path | None = None
    """The scene's images and cameras, if they were moved since."""
    cache_dir: Path | None = None
    """Where scene caches lie, if they were moved since."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    def reopen(self) -> Reopened:
        """Open the segmentation, its run and its scene; prepares what the cache lacks.

        Raises:
            SA3DError: the segmentation is damaged, knows no such object, or was made from another
                checkpoint or other data than its run has now.
        """
        saved = load_segmentation(self.segmentation, torch_device(self.device))
        for name in self.objects:
            saved.segmentation.object(name)
        notes = saved.provenance
        try:
            prepare = notes["settings"]["prepare"]
            options = RunOptions(
                load_config=self.load_config or Path(notes["load_config"]),
                data=self.data or Path(notes["data"]),
                cache_dir=self.cache_dir or (notes["cache_dir"] and Path(notes["cache_dir"])),
                device=self.device,
            )
        except (LookupError, TypeError) as error:
            raise SA3DError(
                f"the segmentation in {self.segmentation} does not say which run it came from: "
                "segment again with sa3d segment"
            ) from error
        settings = settings_from_dict({"prepare": prepare}, str(self.segmentation))
        run, scene = options.open(settings.prepare)
        if scene.key != saved.segmentation.scene_key:
            raise SA3DError(
                f"the segmentation in {self.segmentation} was made from another checkpoint or "
                f"other cameras than {options.load_config} has now: segment again, or name the "
                "run it was made from with --load-config"
            )
        prepare_with_progress(scene)
        return Reopened(run, scene, saved.segmentation, notes)

    def chosen(self, segmentation: Segmentation) -> Sequence[str]:
        """Names of the objects asked for."""
        return self.objects or tuple(segmentation.objects)
