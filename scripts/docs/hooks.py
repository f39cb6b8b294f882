"""MkDocs hooks: pages of the documentation site that are made from files outside ``docs/``.

- ``index.md``, ``contributing.md`` and ``changelog.md`` are the files of the repository's top
  folder, ``benchmark_scripts.md`` is ``scripts/benchmarks/README.md``;
- ``notebook.md`` is the notebook in ``examples/``;
- ``cli/<command>.md`` is made from the parsers of the ``sa3d`` commands (``cli_reference.py``);
- ``api.md`` lists the names in ``sa3d.__all__``, whose docstrings mkdocstrings renders.

Links that leave ``docs/`` are rewritten to these pages, so a page reads the same in the repository.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]

_TOP_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/segment_an_object.ipynb": "notebook.md",
    "scripts/benchmarks/README.md": "benchmark_scripts.md",
}
"""Files outside ``docs/``, and the pages they become."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the commands into the navigation, where it says ``CLI``."""
    config.extra["cli"] = _cli_reference()
    commands = [entry["prog"].split()[1] for entry in config.extra["cli"] if _depth(entry) == 2]
    pages = [{"Overview": "cli/index.md"}, *({f"sa3d {c}": f"cli/{c}.md"} for c in commands)]
    for section in config.nav or []:
        for entries in section.values():
            if isinstance(entries, list):
                for entry in entries:
                    if isinstance(entry, dict) and entry.get("CLI") == "cli":
                        entry["CLI"] = pages
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from files outside ``docs/``."""
    made = {"api.md": api_page((ROOT / "sa3d/__init__.py").read_text())}
    for source, page in _TOP_PAGES.items():
        path = ROOT / source
        if path.suffix == ".ipynb":
            made[page] = notebook_page(path.read_text())
        elif path.is_file():
            made[page] = rewrite_links(path.read_text(), path.parent.relative_to(ROOT).as_posix())
    for name, text in cli_pages(config.extra["cli"]).items():
        made[f"cli/{name}.md"] = text
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links that leave ``docs/`` to the pages made of the files they name."""
    if page.file.generated_by:
        return markdown
    return rewrite_links(markdown, (Path("docs") / page.file.src_uri).parent.as_posix())


def rewrite_links(markdown: str, folder: str) -> str:
    """Return Markdown from ``folder`` of the repository with its links as they are in the site.

    A link to a file that is no page of the site, such as a module, becomes its text alone.

    Args:
        markdown: text of a file.
        folder: the file's folder, relative to the repository; ``.`` or ``""`` is the top one.
    """

    in_docs = folder == "docs" or folder.startswith("docs/")

    def replaced(match: re.Match[str]) -> str:
        target, hash_, anchor = match[2].partition("#")
        path = (ROOT / folder / target).resolve()
        if "://" in target or not target or not path.is_relative_to(ROOT):
            return match[0]
        within = path.relative_to(ROOT).as_posix()
        if within in _TOP_PAGES:
            page = ("../" * folder.count("/") if in_docs else "") + _TOP_PAGES[within]
        elif within.startswith("docs/"):
            page = target if in_docs else within.removeprefix("docs/")
        else:
            return f"`{match[1].strip('`')}`" if path.exists() else match[0]
        return f"[{match[1]}]({page}{hash_}{anchor})"

    return re.sub(r"\[([^\]\[]*)\]\(([^)\s]+)\)", replaced, markdown)


def notebook_page(notebook: str) -> str:
    """Return a notebook's cells as Markdown."""
    parts = []
    for cell in json.loads(notebook)["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def api_page(source: str) -> str:
    """Return the page of the public names, given the source of ``sa3d/__init__.py``."""
    module = ast.parse(source)
    values = {
        target.id: node.value
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    places = {
        name: place
        for place, names in ast.literal_eval(values["_MODULES"]).items()
        for name in names
    }
    names = sorted({*ast.literal_eval(values["__all__"]), *places})
    groups: dict[str, list[str]] = {title: [] for title in _API_GROUPS}
    for name in names:
        groups[_api_group(name, places.get(name, ""))].append(name)
    lines = ["# Python API", "", ast.get_docstring(module) or "", ""]
    for title, group in groups.items():
        lines += [f"## {title}", "", *(f"::: sa3d.{name}\n" for name in group)]
    return "\n".join(lines) + "\n"


_API_GROUPS = ("Functions", "Scenes and objects", "The core", "Settings", "Events")


def _api_group(name: str, place: str) -> str:
    """Return the group of a public name, by the module it lives in."""
    if name.islower():
        return "Functions"
    if place.endswith(".events"):
        return "Events"
    if place.endswith((".config", ".settings")):
        return "Settings"
    user = not place or place.startswith("nerfstudio_plugin.") or place.endswith(".prompts")
    return "Scenes and objects" if user else "The core"


def cli_pages(entries: list[dict[str, Any]]) -> dict[str, str]:
    """Return the pages of the command line by name, given what ``cli_reference.py`` prints."""
    pages: dict[str, list[str]] = {}
    for entry in entries:
        words = entry["prog"].split()
        name = words[1] if len(words) > 1 else "index"
        pages.setdefault(name, []).append(_cli_section(entry))
    return {name: "\n".join(sections) for name, sections in pages.items()}


def _cli_section(entry: dict[str, Any]) -> str:
    depth = _depth(entry)
    title = entry["prog"] if depth > 1 else "Command line"
    lines = [f"{'#' * max(depth - 1, 1)} {title}", ""]
    if not entry["groups"]:
        return "\n".join([*lines, "```text", entry["help"].strip("\n"), "```", ""])
    lines += [_description(entry["help"]), ""]
    for group in entry["groups"]:
        lines += [f"**{_escaped(group['title'])}**", ""]
        if group["help"]:
            lines += [_escaped(group["help"]), ""]
        lines += ["| option | value | meaning |", "|---|---|---|"]
        lines += [_option_row(option) for option in group["options"]]
        lines.append("")
    return "\n".join(lines)


def _option_row(option: dict[str, Any]) -> str:
    meaning, default = re.fullmatch(
        r"(.*?)\s*(?:\((?:default: (.*)|required|repeatable)\))?", option["help"], re.DOTALL
    ).groups()  # pyright: ignore[reportOptionalMemberAccess]
    flags = ", ".join(f"`{flag}`" for flag in option["flags"]) or "(position)"
    cells = [flags, _value(option["metavar"]), _escaped(meaning)]
    if option["required"]:
        cells[2] += " **Required.**"
    elif default not in (None, "", "None", "False"):
        cells[2] += f" Default: `{default}`."
    return f"| {' | '.join(cells)} |"


def _value(metavar: str) -> str:
    """Return an option's value in plain words: tyro writes ``[STR [STR ...]]``."""
    several = re.fullmatch(r"\[(.+) \[\1 \.\.\.\]\]|(.+) \[\2 \.\.\.\]", metavar)
    one = several[1] or several[2] if several else metavar
    one = one.removeprefix("{None}|").replace("|", " or ")
    if one.startswith("{") and one.endswith("}"):
        return ", ".join(f"`{choice}`" for choice in one[1:-1].split(","))
    return f"`{one}{' ...' if several else ''}`" if one else ""


def _description(text: str) -> str:
    """Return a command's description: prose as it is, aligned or indented parts as code."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = paragraph.splitlines()
        if any(line.startswith("  ") for line in lines):
            if not lines[0].startswith(" ") and lines[0].endswith(":"):
                title = lines.pop(0)
                parts.append(_escaped(title.capitalize() if title[:-1].isalpha() else title))
            width = min(len(line) - len(line.lstrip()) for line in lines)
            code = "\n".join(line[width:] for line in lines)
            parts.append(f"```text\n{code}\n```")
        else:
            parts.append(_escaped(" ".join(lines)))
    return "\n\n".join(parts)


def _escaped(text: str) -> str:
    """Return plain text so that Markdown shows it as it is; options and backticks become code."""
    text = re.sub(r"(?<![\w`-])--[a-z][\w.-]*\w", r"`\g<0>`", " ".join(text.split()))
    pieces = re.split(r"(`[^`]*`)", text)
    plain = (re.sub(r"([\\*_<>\[\]|#])", r"\\\1", piece) for piece in pieces[::2])
    code = [*pieces[1::2], ""]
    return "".join(a + b for a, b in zip(plain, code, strict=True))


def _depth(entry: dict[str, Any]) -> int:
    return len(entry["prog"].split())


def _cli_reference() -> list[dict[str, Any]]:
    """Run ``cli_reference.py`` in a process of its own: it replaces part of tyro."""
    script = ROOT / "scripts/docs/cli_reference.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr}")
    return json.loads(done.stdout)
