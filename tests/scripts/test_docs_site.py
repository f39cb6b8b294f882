from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sa3d
from nerfstudio_plugin.cli import COMMANDS
from nerfstudio_plugin.exports import KINDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hooks() -> dict:
    pytest.importorskip("mkdocs")
    return runpy.run_path(str(ROOT / "scripts/docs/hooks.py"))


@pytest.fixture(scope="module")
def entries(hooks) -> list[dict]:
    return hooks["_cli_reference"]()


@pytest.mark.slow
def test_reference_has_every_command_and_its_options(hooks, entries):
    by_prog = {entry["prog"]: entry for entry in entries}
    expected = {f"sa3d {name}" for name in COMMANDS} | {f"sa3d export {kind}" for kind in KINDS}
    assert expected <= set(by_prog)
    assert "sa3d objects rename" in by_prog
    lists = {prog for prog, entry in by_prog.items() if not entry["groups"]}
    assert lists == {"sa3d", "sa3d export", "sa3d objects"}
    options = by_prog["sa3d segment"]["groups"][0]["options"]
    assert ["--box"] in [option["flags"] for option in options]

    pages = hooks["cli_pages"](entries)
    assert set(pages) == {"index", *COMMANDS}
    assert "| `--load-config` | `PATH` |" in pages["segment"]
    assert "**Required.**" in pages["segment"]
    assert "## sa3d export mesh" in pages["export"]


def test_api_page_has_every_public_name(hooks):
    page = hooks["api_page"]((ROOT / "sa3d/__init__.py").read_text())
    named = {line.removeprefix("::: sa3d.") for line in page.splitlines() if line.startswith(":::")}
    assert named == set(dir(sa3d))
    assert named >= set(sa3d.__all__) | {"open", "load"}


@pytest.mark.parametrize(
    ("folder", "link", "expected"),
    [
        (".", "docs/exports.md#meshes", "exports.md#meshes"),
        (".", "CONTRIBUTING.md", "contributing.md"),
        ("docs", "../CONTRIBUTING.md", "contributing.md"),
        ("docs", "../examples/segment_an_object.ipynb", "notebook.md"),
        ("docs/adr", "../../README.md", "../index.md"),
        ("docs/adr", "../robustness.md", "../robustness.md"),
        ("docs", "images/meshes.jpg", "images/meshes.jpg"),
        ("scripts/benchmarks", "../../docs/exports.md#masks", "exports.md#masks"),
        ("scripts/benchmarks", "../../README.md", "index.md"),
        ("docs", "../no/such/file.py", "../no/such/file.py"),
        (".", "https://arxiv.org/abs/2304.12308", "https://arxiv.org/abs/2304.12308"),
    ],
)
def test_links_lead_to_pages_of_the_site(hooks, folder, link, expected):
    assert hooks["rewrite_links"](f"see [it]({link}).", folder) == f"see [it]({expected})."


def test_links_to_other_files_become_text(hooks):
    text = "![](images/meshes.jpg) and [`scene`](../sa3d/__init__.py), [it](../sa3d/__init__.py)"
    assert hooks["rewrite_links"](text, "docs") == "![](images/meshes.jpg) and `scene`, `it`"


def test_values_of_options_are_readable(hooks):
    value = hooks["_value"]
    assert value("{None}|PATH") == "`PATH`"
    assert value("[STR [STR ...]]") == "`STR ...`"
    assert value("NAME [NAME ...]") == "`NAME ...`"
    assert value("{auto,cpu}") == "`auto`, `cpu`"
    assert value("") == ""


@pytest.mark.slow
def test_a_broken_link_stops_the_build(tmp_path):
    pytest.importorskip("mkdocs")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    page = tmp_path / "docs/glossary.md"
    page.write_text(page.read_text() + "\n[broken](no_such_page.md)\n")
    config = {
        "INHERIT": str(ROOT / "mkdocs.yml"),
        "docs_dir": str(tmp_path / "docs"),
        "site_dir": str(tmp_path / "site"),
        "hooks": [str(ROOT / "scripts/docs/hooks.py")],
    }
    (tmp_path / "mkdocs.yml").write_text(json.dumps(config))
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", tmp_path / "mkdocs.yml"],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode != 0
    assert "no_such_page.md" in built.stderr
    assert "Aborted with 1 warnings in strict mode" in built.stdout + built.stderr


def test_make_docs_is_strict_and_counts_warnings():
    commands = [line for line in (ROOT / "Makefile").read_text().splitlines() if "mkdocs b" in line]
    assert len(commands) == 1
    assert "--strict" in commands[0]
    assert "--quiet" not in commands[0], "mkdocs --quiet does not count warnings"


_TOP = ("README.md", "CONTRIBUTING.md", "scripts/benchmarks/README.md")
PAGES = [*(ROOT / name for name in _TOP), *(ROOT / "docs").rglob("*.md")]
_PATH = re.compile(
    r"(?<![\w/.])((?:sa3d|nerfstudio_plugin|scripts|tests|configs|examples)/[\w./-]+\.\w+)"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_documents_name_exist(page):
    named = {path for path in _PATH.findall(page.read_text()) if "..." not in path}
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_names_in_contributing_exist():
    spans = re.findall(r"`([A-Za-z_]+)(?:\(.*?\))?`", (ROOT / "CONTRIBUTING.md").read_text())
    names = {name for name in spans if "_" in name or not name.islower()}
    folders = ("sa3d", "nerfstudio_plugin", "tests")
    code = "\n".join(path.read_text() for one in folders for path in (ROOT / one).rglob("*.py"))
    assert len(names) > 15
    assert sorted(name for name in names if not re.search(rf"\b{name}\b", code)) == []


def _commands(page: Path) -> list[list[str]]:
    """The ``sa3d`` commands in a page's blocks and code spans, as words."""
    text = page.read_text().replace("\\\n", " ")
    blocks = re.findall(r"```(?:bash|text)?\n(.*?)```", text, re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(sa3d [^`\n]*)`", text)
    lines += [line.strip() for line in text.splitlines() if line.startswith("    sa3d ")]
    return [line.split() for line in lines if line.startswith("sa3d ")]


@pytest.mark.slow
def test_commands_in_documents_have_their_options(entries):
    flags = {
        entry["prog"]: {flag for g in entry["groups"] for o in g["options"] for flag in o["flags"]}
        for entry in entries
    }
    wrong, count = [], 0
    for page in PAGES:
        for words in _commands(page):
            prog = next(
                (name for n in (3, 2) if (name := " ".join(words[:n])) in flags),
                " ".join(words[:2]),
            )
            given = {w.split("=")[0] for w in words if re.match(r"--[a-z]", w)} - {"--help"}
            count += 1
            if words[1].startswith(("-", "COMMAND")) or words[1:3] == ["export", "KIND"]:
                continue
            if prog not in flags or not given <= flags[prog]:
                wrong.append((page.name, " ".join(words)))
    assert count > 60
    assert wrong == []


_GIVEN = """
from pathlib import Path
from typing import Any
import sa3d
my_field: sa3d.RadianceField
views: list[sa3d.View]
cache_folder: Path
"""


@pytest.mark.slow
def test_python_in_documents_type_checks(tmp_path):
    pytest.importorskip("pyright")
    for page in (ROOT / "README.md", ROOT / "docs/python.md"):
        blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
        assert blocks
        (tmp_path / f"{page.stem}.py").write_text("\n".join([_GIVEN, *blocks]))
    settings = {
        "extraPaths": [str(ROOT)],
        "reportUnusedExpression": False,
        "reportPossiblyUnbound": False,
        "reportUnboundVariable": False,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    checked = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", tmp_path],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout


def test_the_tests_that_hold_the_guarantees_exist() -> None:
    """A promise whose test was renamed or removed is held by nothing."""
    text = (ROOT / "docs/guarantees.md").read_text()
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) > 40
    for path, test in named:
        places = (ROOT / path, ROOT / "tests/nerfstudio_plugin" / path)
        file = next((one for one in places if one.is_file()), None)
        assert file is not None, path
        assert not test or f"def {test}(" in file.read_text(), f"{path}::{test}"
