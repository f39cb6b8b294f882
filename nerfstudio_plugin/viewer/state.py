"""What the panel shows: frozen, replaced as a whole, so that any thread may read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.display.shown_objects import ShownObjects
from nerfstudio_plugin.viewer.marks import Mark
from sa3d.base.errors import SA3DError
from sa3d.objects.colors import Color


@dataclass(frozen=True)
class Notice:
    """Something the user should know."""

    kind: Literal["done", "error"]
    title: str
    text: str


@dataclass(frozen=True)
class Desk:
    """What lies on the user's desk beside the session; undone together with it.

    Attributes:
        selected: the object that marks are for.
        empty: objects that have no prompt yet, by name, and their colors.
        marks: not segmented yet.
        candidate: which of the segmenter's candidates is taken; None: its best.
    """

    selected: str
    empty: Mapping[str, Color] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()
    candidate: int | None = None


@dataclass(frozen=True)
class Step:
    """How things were before an action, or after it.

    Attributes:
        opened: the scene with its objects; opening saved ones replaces it.
        session_steps: how many of the session's own steps the action took.
        folder: where those objects were saved.
    """

    action: str
    desk: Desk
    opened: OpenScene
    session_steps: int
    folder: Path


@dataclass(frozen=True)
class Preview:
    """What the marks would select in the photo marked last.

    Attributes:
        view: the photo's name.
        picture: uint8 [h, w, 3], what is taken, and the segmenter's candidates below it.
        scores: predicted IoU of what is taken, and of the candidates.
        points_world: [N, 3], the surface that what is taken covers.
        uncertain: whether the views around decide if so much is taken.
    """

    view: str
    picture: np.ndarray
    scores: tuple[float, ...]
    points_world: np.ndarray
    uncertain: bool


@dataclass(frozen=True)
class StudioState:
    """All that the panel shows.

    Attributes:
        colors: of all objects by name, those without a prompt last.
        ready: whether the scene is prepared: before that nothing can be marked.
        busy: what is being done, empty if nothing is.
        progress: how much of it is done, in [0, 1].
        last_view: what became of the view visited last, and a picture of it, uint8 [h, w, 3].
        prompts: of every object, in words.
        verdicts: of every segmented object.
        unfinished: whether segmenting was stopped and can go on.
        undo, redo: the action each would undo or do again; empty: none.
        only_selected: whether just the selected object is shown.
        folder: where the session is saved.
        saved: whether it is there as it stands.
        command: the command line equal to the last export.
    """

    desk: Desk
    colors: Mapping[str, Color]
    folder: Path
    ready: bool = False
    busy: str = ""
    progress: float = 0.0
    last_view: str = ""
    last_picture: np.ndarray | None = None
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

    def shown_display(self) -> Display:
        """How objects are shown, and which."""
        objects = (self.desk.selected,) if self.only_selected else ()
        return replace(self.display, objects=objects)


@dataclass(frozen=True)
class Listeners:
    """Who is told what.

    Attributes:
        changed: the state is another one.
        show: the objects (None: there are none), or how they are shown, changed.
        tell: something the user should know.
    """

    changed: Callable[[], None]
    show: Callable[[ShownObjects | None, Display], None]
    tell: Callable[[Notice], None]


def problem(error: Exception) -> Notice:
    """What went wrong, and what to do."""
    if isinstance(error, SA3DError):
        said = str(error)
        if said.split()[0].isalpha():  # otherwise it begins with a file's name
            said = said[0].upper() + said[1:]
        return Notice("error", "That did not work", f"{said}.")
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
