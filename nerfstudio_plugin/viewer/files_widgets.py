"""Widgets to export, to save and to reopen."""

from __future__ import annotations

from pathlib import Path

import viser

from nerfstudio_plugin.viewer.files import SUFFIXES, Files
from nerfstudio_plugin.viewer.state import StudioState
from nerfstudio_plugin.viewer.studio import Studio
from nerfstudio_plugin.viewer.viser_scene import send_file


class FilesWidgets:
    """Kind, place and buttons of an export, and the session's folder."""

    def __init__(self, server: viser.ViserServer, studio: Studio, files: Files) -> None:
        self._studio, self._files, gui = studio, files, server.gui
        with gui.add_folder("Export"):
            self._kind = gui.add_dropdown("What", list(SUFFIXES))
            self._every = gui.add_checkbox("All objects", False)
            self._output = gui.add_text("To", "", hint="file, or folder for all objects and masks")
            self._overwrite = gui.add_checkbox("Overwrite", False)
            self._export = gui.add_button("Export", icon=viser.Icon.PACKAGE_EXPORT)
            self._download = gui.add_button("Export and download", icon=viser.Icon.DOWNLOAD)
            self._command = gui.add_markdown("", visible=False)
        with gui.add_folder("Session", expand_by_default=False):
            self._folder = gui.add_text("Folder", str(studio.state.folder))
            self._save = gui.add_button("Save", icon=viser.Icon.DEVICE_FLOPPY)
            self._unsaved = gui.add_markdown("")
            self._open = gui.add_button("Open", icon=viser.Icon.FOLDER_OPEN)
        self._suggested = ""
        self._suggest()
        for widget in (self._kind, self._every):
            widget.on_update(lambda _: self._suggest())
        self._export.on_click(lambda _: self._run(None))
        self._download.on_click(lambda event: self._run(event.client))
        self._save.on_click(lambda _: files.save(Path(self._folder.value).expanduser()))
        self._open.on_click(lambda _: files.open(Path(self._folder.value).expanduser()))

    def _run(self, client: viser.ClientHandle | None) -> None:
        self._files.export(
            self._kind.value,
            Path(self._output.value).expanduser(),
            every_object=self._every.value,
            overwrite=self._overwrite.value,
            deliver=None if client is None else lambda file: send_file(client, file),
        )

    def _suggest(self) -> None:
        """Propose a name, unless the user has typed one."""
        if self._output.value not in ("", self._suggested):
            return
        suffix = SUFFIXES[self._kind.value]
        name = "objects" if self._every.value else self._studio.state.desk.selected
        if self._every.value:
            suffix = "" if suffix.startswith(".") else suffix
        self._suggested = str(Path("exports") / (name + suffix))
        if self._output.value != self._suggested:
            self._output.value = self._suggested

    def refresh(self, state: StudioState) -> None:
        """Show how things stand."""
        self._suggest()
        self._export.disabled = self._download.disabled = not state.verdicts
        self._save.disabled = not state.verdicts
        unsaved = bool(state.verdicts) and not state.saved
        self._unsaved.content = "Not saved yet." if unsaved else ""
        self._command.visible = bool(state.command)
        if state.command:
            self._command.content = f"The same in a terminal:\n\n```\n{state.command}\n```"
