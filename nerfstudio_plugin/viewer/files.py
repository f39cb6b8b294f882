"""Saving, opening and exporting what the panel made."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.exports import new_export
from nerfstudio_plugin.saved.segmentation_folder import ExportSource
from nerfstudio_plugin.viewer.state import Desk, Listeners, Notice
from nerfstudio_plugin.viewer.studio import Studio
from nerfstudio_plugin.viewer.worker import Worker
from sa3d.base.errors import SA3DError
from sa3d.detectors.loading import load_detector, local_detectors
from sa3d.detectors.protocol import TextDetector
from sa3d.objects.checkpoint import is_segmentation, load_segmentation
from sa3d.segmenters.registry import AUTO

SUFFIXES = {"mesh": ".glb", "pointcloud": ".ply", "masks": "_masks", "field": "_field"}
"""What can be exported, and how the names of the files or folders end."""

_DESK = "desk"
"""Of the panel's own notes in a saved segmentation's provenance."""


class Files:
    """Session folder and exports. Everything is done by the studio's worker."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def save(self, folder: Path) -> None:
        """Save the session to a folder; what the panel saved there before is replaced."""

        def save() -> None:
            self._save(folder)
            self._studio.tell(Notice("done", "Saved", f"The session is in {folder}."))

        self._studio.do("saving", save)

    def open(self, folder: Path) -> None:
        """Go on with a saved session, in place of this one; can be undone."""
        self._studio.do("opening", lambda: self.resume(folder))

    def resume(self, folder: Path) -> None:
        """Open a saved session; for the worker's jobs only.

        Raises:
            SA3DError: there is none, or it was made in another scene.
        """
        studio = self._studio
        saved = load_segmentation(folder, studio.scene.device)
        opened = studio.opened.with_objects(saved.segmentation)
        notes = saved.provenance.get(_DESK, {})
        empty = {name: tuple(rgb) for name, rgb in notes.get("empty", {}).items()}
        names = [*saved.segmentation.objects, *empty]
        selected = notes.get("selected")
        selected = selected if selected in names else names[0]  # edited elsewhere since
        studio.replace_objects(opened, Desk(selected, empty), f"open {folder.name}")
        studio.settle(folder, notes.get("display"))

    def export(
        self,
        kind: str,
        output: Path,
        *,
        every_object: bool,
        overwrite: bool,
        deliver: Callable[[Path], None] | None = None,
    ) -> None:
        """Export the selected object, or all; the session is saved as well.

        Args:
            kind: one of ``SUFFIXES``.
            deliver: takes a file with what was written; folders are zipped for it.
        """

        def write() -> None:
            state = self._studio.state
            names = tuple(state.verdicts) if every_object else (state.desk.selected,)
            missing = [name for name in names if name not in state.verdicts]
            if missing:
                raise SA3DError(f"object {missing[0]!r} is not segmented yet")
            if not names:
                raise SA3DError("no object is segmented yet")
            made = self._save(state.folder)
            export = new_export(kind, output, overwrite=overwrite)
            written = list(export.write(made, names))
            self._studio.note_command(
                equal_command(kind, state.folder, output, names, overwrite=overwrite)
            )
            said = "; ".join(line for one in written for line in one.lines)
            self._studio.tell(Notice("done", f"{kind} exported", said))
            if deliver is not None:
                with tempfile.TemporaryDirectory() as folder:
                    deliver(_one_file(output, Path(folder)))

        self._studio.do(f"exporting the {kind}", write)

    def _save(self, folder: Path) -> ExportSource:
        studio, desk = self._studio, self._studio.state.desk
        if not studio.state.verdicts:
            raise SA3DError("nothing is segmented yet: mark an object and press Segment in 3D")
        display = asdict(studio.state.display)
        notes = {"empty": desk.empty, "selected": desk.selected, "display": display}
        studio.opened.save(folder, overwrite=True, notes={_DESK: notes})
        studio.settle(folder)
        return replace(studio.opened.export_source, folder=folder)


def equal_command(
    kind: str, folder: Path, output: Path, names: tuple[str, ...], *, overwrite: bool
) -> str:
    """The command line that exports the same."""
    words = ["sa3d", "export", kind, "--segmentation", str(folder), "--objects", *names]
    words += ["--output", str(output)] + (["--overwrite"] if overwrite else [])
    return shlex.join(words)


def _one_file(place: Path, scratch: Path) -> Path:
    """A file to download: the export itself, or its folder zipped."""
    if not place.is_dir():
        return place
    return Path(shutil.make_archive(str(scratch / place.name), "zip", place))


DEFAULT_FOLDER = Path("segmentations/viewer")
"""Where a session is saved unless the user says otherwise."""


@dataclass(frozen=True)
class Opened:
    """What a panel works with.

    Attributes:
        begin: called once the panel is there.
    """

    studio: Studio
    files: Files
    begin: Callable[[], None]


def open_for_viewing(
    opened: OpenScene, folder: Path, detector: str, listeners: Listeners
) -> Opened:
    """In a thread of its own; goes on with what is saved in ``folder``.

    Raises:
        SA3DError: the segmenter cannot be had.
    """
    worker, finder = Worker(), detector_if_any(detector, opened.device)
    studio = Studio(opened, folder, worker, listeners, finder)
    files = Files(studio)

    def begin() -> None:
        worker.start()
        studio.prepare()
        if is_segmentation(folder):
            files.open(folder)

    return Opened(studio, files, begin)


def open_for_training(opened: OpenScene, folder: Path, listeners: Listeners) -> Opened:
    """Beside ``ns-train``: what the user does waits for the trainer's next step."""
    studio = Studio(opened, folder, Worker(), listeners)
    return Opened(studio, Files(studio), lambda: None)


def detector_if_any(name: str, device: str) -> Callable[[], TextDetector] | None:
    """What loads the detector when words are first looked for; None where there is none.

    Nothing is downloaded unless the detector is named.
    """
    if name == AUTO and not local_detectors():
        return None
    return cache(lambda: load_detector(name, device))
