"""Table of the numeric constants in the code, and how much results depend on each of them.

    python scripts/benchmarks/constants.py --every 2    # measure (hours); can be stopped
    python scripts/benchmarks/constants.py              # write docs/constants.md again

The constants are read from the code: numbers at the top level of modules, and numeric defaults of
classes named ``...Config``. ``constants.toml``, beside this file, says where values were found. The
measured numbers are in docs/constants.json; see ``constants_measured.py`` for how they are made.
"""

from __future__ import annotations

import ast
import fnmatch
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro

from sa3d.base.storage import atomic_path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("sa3d", "nerfstudio_plugin")
NOTES = Path(__file__).with_name("constants.toml")
NUMBERS = ROOT / "docs" / "constants.json"
TABLE = ROOT / "docs" / "constants.md"
DECIDING = "decides"
FACTORS = (0.5, 2.0)
DECIDES, NOTHING = 0.01, 0.0005
"""Changes of the mean IoU from which a constant decides, and below which nothing changed."""

_HEAD = """---
hide: [navigation, toc]
---

# Constants

Every numeric constant of the code: numbers at the top level of modules, and numeric settings (the
defaults of `...Config` classes). Written by `python scripts/benchmarks/constants.py` from the code,
[`constants.toml`](../scripts/benchmarks/constants.toml) (units, and where values were found), and
`constants.json` (what was measured). A test compares the names and values here with the code.
"""

_ON_PATH = """## On the demo's path

What the seven objects of the demo room lose or gain when one constant is halved or doubled: the
change of the mean IoU of the final masks, over objects and views. {views} of the 48 views (every
{which} one, and the prompted ones) at {ray_side} rays, embedded segmenter, prompts of `sa3d demo`;
baseline {mean:.4f} (0.954 with all views at 160 rays, as `make demo` measures it). Integers stay
integers, at least 1; numbers below 1 are doubled to 1 at most. *Fails*: an object was not found at
all, or the run ended with an error. `PrepareConfig.ray_side` is scaled from {ray_side}. Differences
of a few thousandths are noise of the loop, and no reason to change a value. Where a threshold is
doubled to 1, no view is believed, and the objects stay as the prompted views lift them.

*Decides*: {decides} or more either way, or a failure ({decide} constants). **One scene**: it
decides, and its value was fitted on one scene ({one_scene}). *Nothing*: less than {nothing_below}
both ways ({nothing}). Measured: {measured}; not measured: {unmeasured}.
"""

_REST = """
## Elsewhere

The demo does not read these constants, or they decide no mask: they belong to a format, bound
memory or time, or shape what is displayed. *Shown by*: the script or the tests whose numbers would
move.
"""


@dataclass(frozen=True)
class Constant:
    """A numeric constant.

    Attributes:
        module: dotted name of its module.
        name: ``NAME``, or ``Class.field`` of a setting.
        value: as it is written in the code.
        doc: its docstring, in one line; empty if it has none.
    """

    module: str
    name: str
    value: str
    doc: str

    @property
    def key(self) -> str:
        """Dotted name."""
        return f"{self.module}.{self.name}"


@dataclass
class Numbers:
    """Contents of docs/constants.json.

    Attributes:
        setting: how the runs were made, and the baseline's mean IoU.
        on_path: value, by key, of every constant that the demo's code reads.
        off_path: the same of those it does not read.
        runs: one run per constant and factor.
    """

    setting: dict[str, Any] = field(default_factory=dict)
    on_path: dict[str, str] = field(default_factory=dict)
    off_path: dict[str, str] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path = NUMBERS) -> Numbers:
        """Read the file; empty if there is none."""
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else cls()

    def save(self, path: Path = NUMBERS) -> None:
        """Write the file: one constant or run per line."""
        parts = [f'"setting": {json.dumps(self.setting)}']
        for name in ("on_path", "off_path"):
            rows = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in getattr(self, name).items()]
            parts.append(f'"{name}": {{\n' + ",\n".join(rows) + "\n}")
        parts.append('"runs": [\n' + ",\n".join(json.dumps(run) for run in self.runs) + "\n]")
        with atomic_path(path) as temporary:
            temporary.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")

    def run(self, key: str, factor: float) -> dict[str, Any] | None:
        """Return the run of a constant at half or twice its value, if it was made."""
        return next((r for r in self.runs if (r["constant"], r["factor"]) == (key, factor)), None)

    def follow_moves(self, constants: Sequence[Constant]) -> None:
        """Give constants that moved to another module since the runs their present key.

        A constant is recognised by its name and value; of several, the one whose module's name
        begins most alike is taken.
        """
        present = {c.key for c in constants}
        known = {**self.on_path, **self.off_path}
        for old, value in known.items():
            name = own_name(old)
            moved = [
                c.key
                for c in constants
                if (c.name, c.value) == (name, value) and c.key not in known
            ]
            near = [_parts_in_common(old, key) for key in moved]
            if old in present or not moved or near.count(max(near)) > 1:
                continue
            new = moved[near.index(max(near))]
            self.on_path = {new if k == old else k: v for k, v in self.on_path.items()}
            self.off_path = {new if k == old else k: v for k, v in self.off_path.items()}
            for run in self.runs:
                if run["constant"] == old:
                    run["constant"] = new


def _parts_in_common(one: str, other: str) -> int:
    """Return the number of parts that two dotted names have in common at the start."""
    same = [a == b for a, b in zip(one.split("."), other.split("."), strict=False)]
    return [*same, False].index(False)


def own_name(key: str) -> str:
    """Return the ``NAME`` or ``Class.field`` of a dotted name."""
    *_, owner, name = key.split(".")
    return f"{owner}.{name}" if owner[0].isupper() else name


def find_constants(root: Path = ROOT) -> list[Constant]:
    """Return all numeric constants of the packages below ``root``, in the order of the files."""
    found: list[Constant] = []
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            module = module_name(path, root)
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for name, value, doc in _assignments(tree.body):
                if is_constant_name(name) and _is_numeric(value):
                    found.append(Constant(module, name, ast.unparse(value), doc))
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and node.name.endswith("Config"):
                    for name, value, doc in _assignments(node.body):
                        if _is_numeric(value):
                            name, value = f"{node.name}.{name}", ast.unparse(value)
                            found.append(Constant(module, name, value, doc))
    return found


def module_name(path: Path, root: Path = ROOT) -> str:
    """Return the dotted name of a module's file."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def is_constant_name(name: str) -> bool:
    """Return whether a name is written as constants are."""
    return name == name.upper() and any(letter.isalpha() for letter in name)


def _assignments(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.expr, str]]:
    """Yield name, value and docstring; ``A, B = 1, 2`` gives two.

    Assignments in adjacent lines share the docstring below the last of them.
    """
    for index, node in enumerate(body):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            target, value = node.target, node.value
        else:
            continue
        pairs: list[tuple[ast.expr, ast.expr]] = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=True))
        for one, its_value in pairs:
            if isinstance(one, ast.Name):
                yield one.id, its_value, _doc_below(body, index)


def _doc_below(body: Sequence[ast.stmt], index: int) -> str:
    for node, below in zip(body[index:], body[index + 1 :], strict=False):
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            return " ".join(str(below.value.value).split())
        if not isinstance(below, ast.Assign) or below.lineno != (node.end_lineno or 0) + 1:
            break
    return ""


def _is_numeric(node: ast.expr) -> bool:
    """Return whether an expression consists of numbers."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)
    if isinstance(node, ast.UnaryOp):
        return _is_numeric(node.operand)
    if isinstance(node, ast.BinOp):
        return _is_numeric(node.left) and _is_numeric(node.right)
    if isinstance(node, ast.Tuple | ast.List):
        return bool(node.elts) and all(map(_is_numeric, node.elts))
    if isinstance(node, ast.Dict):
        return bool(node.values) and all(map(_is_numeric, node.values))
    if isinstance(node, ast.Call):  # such as Band(0.05, 0.1) or math.radians(30)
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        return bool(arguments) and all(
            _is_numeric(one) or (isinstance(one, ast.Name) and is_constant_name(one.id))
            for one in arguments
        )
    return False


def load_notes() -> dict[str, dict[str, str]]:
    """Return the sections of constants.toml, in the order of the file."""
    return tomllib.loads(NOTES.read_text(encoding="utf-8"))


def note_of(constant: Constant, notes: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the entries of constants.toml for a constant.

    Each section's name is a pattern for dotted names; later sections override earlier ones. Keys:
    ``kind`` (a constant of another kind than "decides" cannot change masks), ``found``, ``unit``,
    ``shown_by`` (what shows a constant that the demo does not read), ``scenes`` ("1" if the value
    was fitted on one scene).
    """
    note = {"kind": DECIDING, "found": "not recorded"}
    for pattern, values in notes.items():
        if fnmatch.fnmatchcase(constant.key, pattern):
            note |= values
    return note


def markdown(constants: Sequence[Constant], numbers: Numbers) -> str:
    """Return docs/constants.md."""
    notes = load_notes()
    numbers.follow_moves(constants)
    on_path: list[list[str]] = []
    others: list[list[str]] = []
    for constant in constants:
        note = note_of(constant, notes)
        if note["kind"] == DECIDING and constant.key in numbers.on_path:
            on_path.append(_measured_row(constant, note, numbers))
        else:
            others.append(_other_row(constant, note, numbers))
    return "\n".join(
        [
            _HEAD,
            _summary(numbers.setting, on_path),
            "| constant | value | unit | meaning | found | half | twice | |",
            "|---|---|---|---|---|---|---|---|",
            *("| " + " | ".join(row) + " |" for row in on_path),
            _REST,
            "| constant | value | unit | meaning | found, or kind | shown by |",
            "|---|---|---|---|---|---|",
            *("| " + " | ".join(row) + " |" for row in others),
            "",
        ]
    )


def _summary(setting: Mapping[str, Any], rows: Sequence[Sequence[str]]) -> str:
    if not setting:
        return "## On the demo's path\n\nNothing was measured yet.\n"
    marks = [row[-1] for row in rows]
    unmeasured = sum("not measured" in row for row in rows)
    return _ON_PATH.format(
        **setting,
        which={2: "second", 3: "third"}.get(setting["every"], "single"),
        measured=len(rows) - unmeasured,
        unmeasured=unmeasured,
        decide=sum("decides" in mark for mark in marks),
        one_scene=sum("one scene" in mark for mark in marks),
        nothing=marks.count("nothing"),
        decides=DECIDES,
        nothing_below=NOTHING,
    )


def _measured_row(constant: Constant, note: Mapping[str, str], numbers: Numbers) -> list[str]:
    """Return the cells of a constant on the demo's path; the last one says if it decides."""
    runs = [numbers.run(constant.key, factor) for factor in FACTORS]
    if numbers.on_path[constant.key] != constant.value:
        runs = [None, None]  # measured when it had another value
    changes = [_change(run, numbers.setting["mean"]) for run in runs]
    sizes = [abs(change) for change in changes if isinstance(change, float)]
    mark = ""
    if "fails" in changes or max(sizes, default=0) >= DECIDES:
        mark = "**decides, one scene**" if note.get("scenes") == "1" else "decides"
    elif len(sizes) == len(FACTORS) and max(sizes) < NOTHING:
        mark = "nothing"
    cells = [one if isinstance(one, str) else f"{one:+.4f}" for one in changes]
    return [*_name_cells(constant, note), note["found"], *cells, mark]


def _change(run: Mapping[str, Any] | None, baseline: float) -> float | str:
    """Return the change of the mean IoU in a run, or the reason if there is none."""
    if run is None:
        return "not measured"
    if run.get("same"):
        return "no half of 0"
    return "fails" if run["errors"] else float(run["mean"] - baseline)


def _other_row(constant: Constant, note: Mapping[str, str], numbers: Numbers) -> list[str]:
    """Return the cells of a constant that the demo does not read, or that decides no mask."""
    decides = note["kind"] == DECIDING
    shown = note.get("shown_by", "") if decides else ""
    if decides and constant.key not in numbers.off_path:
        shown += " (added since the demo's code was traced)"
    return [*_name_cells(constant, note), note["found"] if decides else note["kind"], shown]


def _name_cells(constant: Constant, note: Mapping[str, str]) -> list[str]:
    unit = note.get("unit") or default_unit(constant)
    meaning = constant.doc.split(". ")[0].split("; ")[0].rstrip(".").replace("|", "\\|")
    return [f"`{constant.key}`", f"`{shown_value(constant)}`", unit, meaning]


def shown_value(constant: Constant) -> str:
    """Return a constant's value as the table shows it; long ones end in three dots."""
    return constant.value if len(constant.value) <= 60 else constant.value[:57] + "..."


def default_unit(constant: Constant) -> str:
    """Return the unit that a constant's name or value implies: px, s, share, count or none."""
    name = constant.name.rsplit(".", 1)[-1].lower()
    for ending, unit in (("_px", "px"), ("_s", "s"), ("_side", "px"), ("_bytes", "bytes")):
        if name.endswith(ending):
            return unit
    try:
        value = ast.literal_eval(constant.value)
    except ValueError:
        return ""
    if isinstance(value, int):
        return "count"
    return "share" if isinstance(value, float) and 0 <= value <= 1 else ""


@dataclass
class Options:
    """Command-line options."""

    every: int = 0
    """Measure first, with every n-th view of the room and the prompted ones; 0: do not measure."""
    ray_side: int = 128
    """Rays along the longer side of each view, in the runs that measure."""
    cache_dir: Path = Path("outputs/constants")
    """Folder of the scene caches of these runs."""


def main(options: Options) -> None:
    """Measure if asked to, then write docs/constants.md."""
    constants, numbers = find_constants(), Numbers.load()
    if options.every:
        from constants_measured import measure

        numbers.follow_moves(constants)
        deciding = [c for c in constants if note_of(c, load_notes())["kind"] == DECIDING]
        measure(deciding, constants, numbers, options.ray_side, options.every, options.cache_dir)
    with atomic_path(TABLE) as temporary:
        temporary.write_text(markdown(constants, numbers), encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
