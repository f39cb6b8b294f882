"""Widgets that edit objects that are there: rename, merge, split."""

from __future__ import annotations

import viser

from nerfstudio_plugin.viewer.state import StudioState
from nerfstudio_plugin.viewer.studio import Studio

_NONE = "–"


class ObjectsWidgets:
    """A name, another object, and what can be done with them."""

    def __init__(self, server: viser.ViserServer, studio: Studio) -> None:
        self._studio, gui = studio, server.gui
        with gui.add_folder("Edit objects", expand_by_default=False):
            self._name = gui.add_text("Name", "", hint="the new name, or that of the split part")
            rename = gui.add_button("Rename this object", color="gray")
            split = gui.add_button(
                "Split off what is marked", color="gray", hint="mark the part first"
            )
            self._other = gui.add_dropdown("With", [_NONE])
            merge = gui.add_button("Merge with that object", color="gray")
        rename.on_click(lambda _: studio.rename_object(self._selected(), self._name.value.strip()))
        split.on_click(lambda _: studio.split(self._name.value.strip()))
        merge.on_click(lambda _: self._merge())

    def _selected(self) -> str:
        return self._studio.state.desk.selected

    def _merge(self) -> None:
        names = (self._selected(), self._other.value)
        self._studio.merge_objects(names, self._selected())

    def refresh(self, state: StudioState) -> None:
        """Show how things stand."""
        others = [name for name in state.colors if name != state.desk.selected] or [_NONE]
        if list(self._other.options) != others:
            self._other.options = others
