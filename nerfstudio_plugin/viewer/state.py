"""The panel's state: frozen and replaced as a whole, so that any thread may read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.display.shown_objects import ShownObjects
from nerfstudio_plugin.viewer.marks import Mark
from nerfstudio_plugin.viewer.thumbnails import Preview
from sa3d.base.errors import SA3DError
from sa3d.objects.colors import Color


@dataclass(frozen=True)
class Notice:
    """A message for the user."""

    kind: Literal["done", "error"]
    title: str
    text: str


def error_notice(error: Exception) -> Notice:
    """Explain an exception and its remedy to the user."""
    if isinstance(error, SA3DError):
        text = str(error)
        if text.split()[0].isalpha():  # otherwise it begins with a file's name
            text = text[0].upper() + text[1:]
        return Notice("error", "That did not work", f"{text}.")
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return Notice(
            "error",
            "Memory is short",
            "Close other programs, or start again with fewer rays (--prepare.ray-side) "
            "or a smaller segmenter (--segmenter).",
        )
    if isinstance(error, OSError):
        return Notice("error", "A file could not be read or written", f"{error}")
    kind = type(error).__name__
    return Notice("error", "A bug in this program", f"{kind}: {error}. Please report it.")


@dataclass(frozen=True)
class Draft:
    """The user's input that is not segmented yet; it is undone together with the session.

    Attributes:
        selected: name of the object that marks are for.
        empty: objects without prompts, and their colors.
        marks: of the selected object.
        candidate: the segmenter's candidate to use; None: its best one.
    """

    selected: str
    empty: Mapping[str, Color] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()
    candidate: int | None = None


@dataclass(frozen=True)
class StudioState:
    """Everything that the panel shows.

    Attributes:
        draft: the user's input that is not segmented yet.
        colors: of all objects by name, those without prompts last.
        folder: where the session is saved.
        ready: whether the scene is prepared; before that nothing can be marked.
        activity: the work in progress; empty if there is none.
        progress: share of it that is done, in [0, 1].
        last_view: outcome of the view visited last.
        last_image: uint8 [h, w, 3], the photo of that view with its mask.
        prompts: descriptions of every object's prompts.
        verdicts: of every segmented object.
        unfinished: whether segmenting was stopped and can be continued.
        preview: what the marks select; None without marks.
        undo, redo: labels of the actions to undo and redo; empty if there is none.
        display: how objects are shown.
        only_selected: whether just the selected object is shown.
        saved: whether the folder holds the session as it is now.
        command: the command line equal to the last export.
        handled: number of the user's commands that were carried out, or failed.
    """

    draft: Draft
    colors: Mapping[str, Color]
    folder: Path
    ready: bool = False
    activity: str = ""
    progress: float = 0.0
    last_view: str = ""
    last_image: np.ndarray | None = None
    prompts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    verdicts: Mapping[str, str] = field(default_factory=dict)
    unfinished: bool = False
    preview: Preview | None = None
    undo: str = ""
    redo: str = ""
    display: Display = field(default_factory=Display)
    only_selected: bool = False
    saved: bool = True
    command: str = ""
    handled: int = 0

    def shown_display(self) -> Display:
        """Return the display settings with the names of the objects to show."""
        objects = (self.draft.selected,) if self.only_selected else ()
        return replace(self.display, objects=objects)


@dataclass(frozen=True)
class Listeners:
    """Callbacks of a studio.

    Attributes:
        changed: called when the state was replaced.
        show: called when the objects (None: there are none) or their display changed.
        notify: called with messages for the user.
    """

    changed: Callable[[], None]
    show: Callable[[ShownObjects | None, Display], None]
    notify: Callable[[Notice], None]
