"""Runs of the demo room with one constant changed; a part of ``constants.py``.

First the room is prepared and segmented once, and the constants that are read are noted; the others
need no run. Then each constant that was read is set to half and to twice its value, in every module
that imported it, and the room's objects are segmented again.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import hashlib
import importlib
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np
from constants import FACTORS, PACKAGES, ROOT, Constant, Numbers, module_name

import sa3d
from nerfstudio_plugin.demo.data import open_demo
from sa3d.evaluation.stages import object_ious
from sa3d.loop.config import LoopConfig
from sa3d.loop.session import Session
from sa3d.loop.settings import Settings
from sa3d.scene.config import PrepareConfig
from sa3d.scene.scene import Scene
from sa3d.segmenters.graphcut.segmenter import GraphCutSegmenter
from sa3d.segmenters.protocol import MaskPrediction

FIRST = (
    "sa3d.loop",
    "sa3d.voting",
    "sa3d.segmenters.graphcut.refine",
    "sa3d.segmenters.graphcut.cut",
    "sa3d.segmenters",
    "sa3d.scene",
)
"""Constants of these rooms and modules are measured first, in this order."""


def measure(
    deciding: Sequence[Constant],
    constants: Sequence[Constant],
    numbers: Numbers,
    ray_side: int,
    every: int,
    cache: Path,
) -> None:
    """Make the runs that ``numbers`` lacks, and save it after each.

    Args:
        deciding: the constants that are changed.
        constants: all of them.
        ray_side: rays along the longer side of each view.
        every: every n-th view is used, and the prompted ones.
        cache: folder of the scene caches.
    """
    room = Room(ray_side, every, cache)
    if not numbers.on_path:
        reads = Reads(constants)
        with reads.noted():
            room.segment(room.prepared(), GraphCutSegmenter())
        numbers.on_path = {c.key: c.value for c in constants if c.key in reads.keys}
        numbers.off_path = {c.key: c.value for c in constants if c.key not in reads.keys}
        numbers.save()
    scene, memory = room.prepared(), {}
    ious, _ = room.segment(scene, Remembering(memory, record=True))
    mean = round(sum(ious.values()) / len(ious), 6)
    setting = {"views": len(scene.views), "every": every, "ray_side": ray_side, "mean": mean}
    if numbers.setting not in ({}, setting):
        raise SystemExit(
            f"docs/constants.json was measured otherwise ({numbers.setting}): delete it"
        )
    numbers.setting = setting
    for constant in sorted(deciding, key=_rank):
        for factor in FACTORS:
            if constant.key in numbers.on_path and numbers.run(constant.key, factor) is None:
                run = _run(constant, factor, room, scene, memory)
                print(run, flush=True)
                numbers.runs.append(run)
                numbers.save()


def _rank(constant: Constant) -> int:
    places = [i for i, name in enumerate(FIRST) if constant.module.startswith(name)]
    return places[0] if places else len(FIRST)


def _run(
    constant: Constant, factor: float, room: Room, scene: Scene, memory: dict[bytes, MaskPrediction]
) -> dict[str, Any]:
    """Segment the room with one constant changed; return a line of docs/constants.json."""
    run: dict[str, Any] = {"constant": constant.key, "factor": factor}
    home = importlib.import_module(constant.module)
    owner, _, name = constant.name.rpartition(".")
    old = getattr(getattr(home, owner) if owner else home, name)
    new = scaled(old, factor)
    if new == old:
        return run | {"same": True}
    segmenter = GraphCutSegmenter()
    if not constant.module.startswith("sa3d.segmenters"):
        segmenter = Remembering(memory)
    with changed(constant, old, new):
        try:
            if constant.module.startswith(("sa3d.scene", "sa3d.fields", "nerfstudio_plugin")):
                scene = room.prepared(fresh=not owner)
            ious, errors = room.segment(scene, segmenter)
        except Exception as error:  # an unusable value is a result, too
            ious, errors = {}, {"preparing": f"{type(error).__name__}: {error}"}
    mean = sum(ious.values()) / max(len(ious), 1)
    rounded = {name: round(value, 6) for name, value in ious.items()}
    return run | {"value": repr(new), "mean": round(mean, 6), "ious": rounded, "errors": errors}


def scaled(value: Any, factor: float) -> Any:
    """Return a constant's value times a factor.

    Integers stay integers, at least 1; numbers below 1 become 1 at most. Of tuples, dicts and
    dataclasses all numbers are scaled.
    """
    if isinstance(value, int):
        return max(1, round(value * factor)) if value > 0 else value
    if isinstance(value, float):
        return min(value * factor, 1.0) if 0 <= value < 1 else value * factor
    if isinstance(value, tuple):
        return tuple(scaled(one, factor) for one in value)
    if isinstance(value, dict):
        return {key: scaled(one, factor) for key, one in value.items()}
    if is_dataclass(value):
        numbers = {one.name: getattr(value, one.name) for one in fields(value)}
        return type(value)(**scaled(numbers, factor))  # pyright: ignore[reportCallIssue]
    raise TypeError(f"cannot scale {value!r}")


@contextlib.contextmanager
def changed(constant: Constant, old: Any, new: Any) -> Iterator[None]:
    """Give a constant another value, in all modules that imported it, or as a field's default."""
    home = importlib.import_module(constant.module)
    owner, _, name = constant.name.rpartition(".")
    if owner:
        with contextlib.ExitStack() as stack:
            for cls in _with_subclasses(getattr(home, owner)):
                stack.enter_context(_default(cls, name, new))
            yield
        return
    places = [(home, constant.name)]
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith(PACKAGES):
            aliases = [alias for alias, of in _imports(module) if of == (constant.module, name)]
            places += [(module, alias) for alias in aliases]
    for module, alias in places:
        setattr(module, alias, new)
    try:
        yield
    finally:
        for module, alias in places:
            setattr(module, alias, old)


def _with_subclasses(cls: type) -> Iterator[type]:
    yield cls
    for below in cls.__subclasses__():
        yield from _with_subclasses(below)


@contextlib.contextmanager
def _default(cls: type, name: str, new: Any) -> Iterator[None]:
    """Change the default of one field in a dataclass's ``__init__``."""
    initialise: Any = cls.__init__
    given = [f for f in fields(cls) if f.init and not f.kw_only]  # pyright: ignore[reportArgumentType]
    with_default = [
        f.name for f in given if f.default is not MISSING or f.default_factory is not MISSING
    ]
    old = initialise.__defaults__
    values = list(old)
    values[with_default.index(name)] = new
    initialise.__defaults__ = tuple(values)
    try:
        yield
    finally:
        initialise.__defaults__ = old


def _imports(module: ModuleType) -> list[tuple[str, tuple[str, str]]]:
    """Return the names that a module imports ``from`` others: (name, (module, attribute))."""
    file = getattr(module, "__file__", None) or ""
    return _imports_of(Path(file)) if file.endswith(".py") else []


_known_imports: dict[Path, list[tuple[str, tuple[str, str]]]] = {}


def _imports_of(path: Path) -> list[tuple[str, tuple[str, str]]]:
    if path not in _known_imports:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        _known_imports[path] = [
            (alias.asname or alias.name, (node.module, alias.name))
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module and not node.level
            for alias in node.names
        ]
    return _known_imports[path]


class Reads:
    """A tracer that notes which constants are read: of modules by line, of settings by attribute.

    Attributes:
        keys: dotted names of the constants that were read.
    """

    def __init__(self, constants: Sequence[Constant]) -> None:
        self.keys: set[str] = set()
        self._settings: dict[tuple[str, str], set[str]] = defaultdict(set)
        for constant in constants:
            if "." in constant.name:
                owner, name = constant.name.split(".")
                self._settings[constant.module, owner].add(name)
        plain = {(c.module, c.name): c.key for c in constants if "." not in c.name}
        self._lines: dict[str, dict[int, set[str]]] = {}
        for package in PACKAGES:
            for path in sorted((ROOT / package).rglob("*.py")):
                if lines := _reading_lines(path, plain):
                    self._lines[str(path)] = lines

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Note what is read inside."""
        with contextlib.ExitStack() as stack:
            for (module, owner), names in self._settings.items():
                cls = getattr(importlib.import_module(module), owner)
                stack.enter_context(self._noted_attributes(cls, f"{module}.{owner}", names))
            sys.settrace(self._call)
            stack.callback(sys.settrace, None)
            yield

    @contextlib.contextmanager
    def _noted_attributes(self, cls: type, prefix: str, names: set[str]) -> Iterator[None]:
        def noting(instance: Any, name: str) -> Any:
            if name in names and _decides(sys._getframe(1)):
                self.keys.add(f"{prefix}.{name}")
            return object.__getattribute__(instance, name)

        cls.__getattribute__ = noting  # type: ignore[method-assign]
        try:
            yield
        finally:
            del cls.__getattribute__

    def _call(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        return self._line if frame.f_code.co_filename in self._lines else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        if event == "line":
            self.keys |= self._lines[frame.f_code.co_filename].get(frame.f_lineno, set())
        return self._line


def _decides(frame: FrameType) -> bool:
    """Return whether a frame that reads a setting uses it: it may only check or copy it."""
    code = frame.f_code
    is_below = Path(code.co_filename).is_relative_to
    checks = code.co_name == "__post_init__" or is_below(ROOT / "sa3d" / "base")
    return any(is_below(ROOT / package) for package in PACKAGES) and not checks


def _reading_lines(path: Path, keys: dict[tuple[str, str], str]) -> dict[int, set[str]]:
    """Return the constants that are read in a file, by line."""
    here = {name: key for (module, name), key in keys.items() if module == module_name(path)}
    modules: dict[str, str] = {}
    for alias, (module, name) in _imports_of(path):
        modules[alias] = f"{module}.{name}"
        if (module, name) in keys:
            here[alias] = keys[module, name]
    lines: dict[int, set[str]] = defaultdict(set)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        key = None
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            key = here.get(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            key = keys.get((modules.get(node.value.id, ""), node.attr))
        if key is not None:
            lines[node.lineno].add(key)  # type: ignore[attr-defined]
    return lines


@dataclass
class Room:
    """The demo room, segmented as ``sa3d demo`` does."""

    ray_side: int
    every: int
    cache: Path

    def prepared(self, fresh: bool = False) -> Scene:
        """Prepare the room, with the settings' present defaults; ``fresh``: without the cache."""
        demo, settings = open_demo("room"), PrepareConfig()
        # In proportion, so that a change of the default counts.
        settings.ray_side = round(self.ray_side * settings.ray_side / PrepareConfig.ray_side)
        cache = self.cache / "fresh" if fresh else self.cache
        if fresh:
            shutil.rmtree(cache, ignore_errors=True)
        scene = sa3d.open(
            demo.load_config,
            Settings(segmenter="graphcut", prepare=settings),
            data=demo.folder,
            cache_dir=cache,
            device="cpu",
        ).scene
        for _ in scene.prepare():
            pass
        if self.every == 1:
            return scene
        prompted = {scene.view_index(prompt.view) for prompt in demo.prompts.values()}
        skipped = [i for i in range(len(scene.views)) if i % self.every and i not in prompted]
        return scene.without_views(skipped)

    def segment(
        self, scene: Scene, segmenter: GraphCutSegmenter
    ) -> tuple[dict[str, float], dict[str, str]]:
        """Segment every object alone; return mean IoUs over views (0 for failures) and errors."""
        demo = open_demo("room")
        ious: dict[str, float] = {}
        errors: dict[str, str] = {}
        for name, prompt in demo.prompts.items():
            try:
                session = Session(scene, segmenter, LoopConfig())
                session.add_prompts([prompt])
                for _ in session.run():
                    pass
                exact = {name: demo.exact_masks(name, scene.views)}
                ious[name] = object_ious(scene, session.result(), exact)[name]
            except Exception as error:  # an unusable value is a result, too
                ious[name], errors[name] = 0.0, f"{type(error).__name__}: {error}"
        return ious, errors


class Remembering(GraphCutSegmenter):
    """The embedded segmenter with a memory: the same prompt to the same image costs nothing.

    Only for runs that change nothing in the segmenter.
    """

    def __init__(self, memory: dict[bytes, MaskPrediction], record: bool = False) -> None:
        super().__init__()
        self._memory, self._record = memory, record

    def predict(
        self,
        point_coords: np.ndarray | None = None,
        point_labels: np.ndarray | None = None,
        box: np.ndarray | None = None,
        mask_logits: np.ndarray | None = None,
        *,
        multimask_output: bool = False,
    ) -> MaskPrediction:
        """Answer from memory, or segment."""
        digest = hashlib.sha256(bytes([multimask_output]))
        prompt = (point_coords, point_labels, box, mask_logits)
        for array in (self._image, self._appearance, *prompt):
            described = "none" if array is None else f"{array.shape} {array.dtype}"
            digest.update(described.encode())
            digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
        key = digest.digest()
        if key in self._memory:
            return copy.deepcopy(self._memory[key])
        found = super().predict(*prompt, multimask_output=multimask_output)
        if self._record:
            self._memory[key] = copy.deepcopy(found)
        return found
