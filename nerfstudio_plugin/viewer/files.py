"""Save and open the panel's session, and export its objects."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, TypedDict

from nerfstudio_plugin.api.opening import saved_settings
from nerfstudio_plugin.display.settings import Mode
from nerfstudio_plugin.exports import new_export
from nerfstudio_plugin.saved.folder_lock import locked
from nerfstudio_plugin.saved.segmentation_folder import ExportSource
from nerfstudio_plugin.viewer.state import Draft, Notice
from nerfstudio_plugin.viewer.studio import Studio
from sa3d.base.errors import SA3DError
from sa3d.base.ranges import Within
from sa3d.base.typed_values import check_value
from sa3d.objects.checkpoint import SavedSegmentation, load_segmentation
from sa3d.objects.colors import checked_color
from sa3d.objects.folder import SavedColor, damaged, is_segmentation, manifest_digest
from sa3d.objects.names import check_new_name

SUFFIXES = {"mesh": ".glb", "pointcloud": ".ply", "masks": "_masks", "field": "_field"}
"""The kinds of export, and how the names of their files or folders end."""

_NOTES = "desk"
"""Key of the panel's notes in the provenance of a saved segmentation."""


class _Display(TypedDict):
    mode: Mode
    objects: list[str]
    threshold: Annotated[float, Within(0.001, 0.999)]


class _Notes(TypedDict, total=False):
    """The panel's notes in a saved segmentation."""

    empty: dict[str, SavedColor]
    selected: str | None
    display: _Display | None


class Files:
    """The commands of the panel that read or write files; the studio's worker runs them."""

    def __init__(self, studio: Studio, output_dir: Path) -> None:
        """Read and write below a folder: whoever reaches the page types the paths.

        Args:
            studio: the commands.
            output_dir: the folder; the session's own may lie elsewhere.
        """
        self._studio, self.output_dir = studio, output_dir.resolve()
        self._known: dict[Path, str] = {}
        self._given = studio.state.folder.resolve()

    def place(self, typed: Path | str) -> Path:
        """Return the path that a user typed, below ``output_dir``; or the session's own folder.

        Raises:
            SA3DError: the path lies elsewhere, or is none.
        """
        try:
            path = (self.output_dir / Path(typed).expanduser()).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise SA3DError(f"{str(typed)!r} is not a path: {error}") from error
        if path != self._given and not path.is_relative_to(self.output_dir):
            raise SA3DError(
                f"{path} lies outside {self.output_dir}, where the viewer reads and writes: give "
                "a path below it, or start the viewer with another --output-dir"
            )
        return path

    def shown(self, path: Path) -> str:
        """Return a path as the user types it."""
        path = path.resolve()
        below = path.is_relative_to(self.output_dir)
        return str(path.relative_to(self.output_dir) if below else path)

    def save(self, typed: Path | str) -> None:
        """Save the session to a folder; a segmentation saved there before is replaced."""

        def save() -> None:
            folder = self.place(typed)
            self._save(folder)
            self._studio.notify(Notice("done", "Saved", f"The session is in {folder}."))

        self._studio.submit("saving", save)

    def open(self, typed: Path | str) -> None:
        """Open a saved session in place of this one, as an undoable action."""
        self._studio.submit("opening", lambda: self._open(self.place(typed)))

    def export(
        self,
        kind: str,
        typed: Path | str,
        *,
        every_object: bool,
        overwrite: bool,
        deliver: Callable[[Path], None] | None = None,
    ) -> None:
        """Export the selected object, or all; the session is saved as well.

        Args:
            kind: one of ``SUFFIXES``.
            typed: the file or folder to write, below ``output_dir``.
            every_object: export all objects.
            overwrite: replace what is there.
            deliver: called with a file that holds what was written; a folder is zipped for it.
        """

        def write() -> None:
            state, output = self._studio.state, self.place(typed)
            names = tuple(state.verdicts) if every_object else (state.draft.selected,)
            missing = [name for name in names if name not in state.verdicts]
            if missing:
                raise SA3DError(f"object {missing[0]!r} is not segmented yet")
            if not names:
                raise SA3DError("no object is segmented yet")
            source = self._save(self.place(state.folder))
            export = new_export(kind, output, overwrite=overwrite)
            written = list(export.write(source, names))
            self._studio.record_command(
                equal_command(kind, state.folder, output, names, overwrite=overwrite)
            )
            text = "; ".join(line for one in written for line in one.lines)
            self._studio.notify(Notice("done", f"{kind} exported", text))
            if deliver is not None:
                with tempfile.TemporaryDirectory() as folder:
                    deliver(_one_file(output, Path(folder)))

        self._studio.submit(f"exporting the {kind}", write)

    def _open(self, folder: Path) -> None:
        studio = self._studio
        with locked(folder):
            saved = load_segmentation(folder, studio.scene.device)
            self._known[folder.resolve()] = manifest_digest(folder)
        settings = saved_settings(saved, folder)  # corrections and votes go on as they began
        opened = studio.opened.with_objects(saved.segmentation, settings)
        notes = _notes(saved, folder)
        empty = {name: checked_color(rgb) for name, rgb in notes.get("empty", {}).items()}
        names = [*saved.segmentation.objects, *empty]
        selected = notes.get("selected")
        selected = selected if selected in names else names[0]  # renamed in a terminal since
        studio.replace_objects(opened, Draft(selected, empty), f"open {folder.name}")
        display = notes.get("display")
        studio.record_saved(
            folder, display and {key: display[key] for key in _Display.__required_keys__}
        )

    def _save(self, folder: Path) -> ExportSource:
        studio, draft = self._studio, self._studio.state.draft
        if not studio.state.verdicts:
            raise SA3DError("nothing is segmented yet: mark an object and press Segment in 3D")
        display = asdict(studio.state.display)
        notes = {"empty": draft.empty, "selected": draft.selected, "display": display}
        with locked(folder):
            self._check_own(folder)
            studio.opened.save(folder, overwrite=True, notes={_NOTES: notes})
            self._known[folder.resolve()] = manifest_digest(folder)
        studio.record_saved(folder)
        return replace(studio.opened.export_source, folder=folder)

    def _check_own(self, folder: Path) -> None:
        """Check that a folder holds nothing, or what this session opened or saved there last.

        Raises:
            SA3DError: another program changed it since, or it holds another segmentation.
        """
        known = self._known.get(folder.resolve())
        if not is_segmentation(folder) or known == manifest_digest(folder):
            return
        raise SA3DError(
            f"{folder} holds a segmentation that was not made here, or was changed since by "
            "another program: save to another folder, or open it first"
        )


def _notes(saved: SavedSegmentation, folder: Path) -> _Notes:
    """Return the panel's notes in a saved segmentation.

    Raises:
        SA3DError: they are damaged, or name an object that cannot be called so.
    """
    notes = saved.provenance.get(_NOTES, {})
    try:
        check_value(notes, _Notes)
        before = list(saved.segmentation.objects)
        for name in notes.get("empty", {}):
            check_new_name(name, before)
            before.append(name)
    except (ValueError, SA3DError) as error:
        raise damaged(folder, error) from error
    return notes


def equal_command(
    kind: str, folder: Path, output: Path, names: tuple[str, ...], *, overwrite: bool
) -> str:
    """Return the command line that does the same export."""
    words = ["sa3d", "export", kind, "--segmentation", str(folder), "--objects", *names]
    words += ["--output", str(output)] + (["--overwrite"] if overwrite else [])
    return shlex.join(words)


def _one_file(place: Path, scratch: Path) -> Path:
    """Return a file to download: the export itself, or its folder zipped."""
    if not place.is_dir():
        return place
    return Path(shutil.make_archive(str(scratch / place.name), "zip", place))
