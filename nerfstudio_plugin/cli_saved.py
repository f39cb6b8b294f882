"""Options that name a saved segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nerfstudio_plugin.cli_progress import prepare_with_progress
from nerfstudio_plugin.segmented_scene import SegmentedScene, reopen
from sa3d.segmentation import Segmentation


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

    def reopen(self) -> SegmentedScene:
        """Open the segmentation, its run and its scene; prepares what the cache lacks.

        Raises:
            SA3DError: the segmentation is damaged, knows no such object, or was made from another
                checkpoint or other data than its run has now.
        """
        opened = reopen(self.segmentation, self.load_config, self.data, self.cache_dir, self.device)
        for name in self.objects:
            opened.segmentation.object(name)
        prepare_with_progress(opened.scene)
        return opened

    def chosen(self, segmentation: Segmentation) -> Sequence[str]:
        """Names of the objects asked for."""
        return self.objects or tuple(segmentation.objects)
