"""Options that name a saved segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from nerfstudio_plugin.cli.progress import opening_bar, prepare_with_progress
from nerfstudio_plugin.runs.devices import torch_device
from sa3d.objects.checkpoint import SavedSegmentation, load_segmentation, refuse_to_replace
from sa3d.objects.segmentation import Segmentation

if TYPE_CHECKING:
    from nerfstudio_plugin.api.open_scene import OpenScene


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

    def load(self) -> SavedSegmentation:
        """The segmentation alone: a second instead of many.

        Raises:
            SA3DError: it is damaged, or knows no such object.
        """
        saved = load_segmentation(self.segmentation, torch_device(self.device))
        for name in self.objects:
            saved.segmentation.object(name)
        return saved

    def reopen(self, saved: SavedSegmentation | None = None) -> OpenScene:
        """Open the segmentation, its run and its scene; prepares what the cache lacks.

        Args:
            saved: what ``load`` gave, changed or not.

        Raises:
            SA3DError: the segmentation is damaged, knows no such object, or was made from another
                checkpoint or other data than its run has now.
        """
        from nerfstudio_plugin.api import opening

        saved = saved or self.load()
        with opening_bar():
            opened = opening.load(
                self.segmentation,
                load_config=self.load_config,
                data=self.data,
                cache_dir=self.cache_dir,
                device=self.device,
                saved=saved,
            )
        prepare_with_progress(opened.scene)
        return opened

    def chosen(self, segmentation: Segmentation) -> Sequence[str]:
        """Names of the objects asked for."""
        return self.objects or tuple(segmentation.objects)


@dataclass(kw_only=True)
class ChangeOptions(SavedOptions):
    """Where a saved segmentation is written when it was changed."""

    output: Path | None = None
    """Folder for the changed segmentation; by default it replaces the one it changes."""
    overwrite: bool = False
    """Replace a segmentation that is in --output already."""
    objects: tyro.conf.Suppress[tuple[str, ...]] = ()

    def place(self) -> tuple[Path, bool]:
        """The folder to write to, and whether what is in it may be replaced.

        Raises:
            SA3DError: there is something that may not.
        """
        output = self.output or self.segmentation
        overwrite = self.overwrite or output.resolve() == self.segmentation.resolve()
        refuse_to_replace(output, overwrite=overwrite)
        return output, overwrite
