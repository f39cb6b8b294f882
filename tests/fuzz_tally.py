"""Counts of what became of every trial, by class; one table at the end of a test run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

Outcome = Literal["one clear line", "healed", "other input", "traceback", "silently wrong", "lost"]
"""One clear line: refused with exit code 2. Healed: the result is that of the undamaged file.
Other input: a file that the user writes holds another valid value now, and the result follows it.
The rest are failures."""

FAILURES: tuple[Outcome, ...] = ("traceback", "silently wrong", "lost")
PROPERTY = "fuzz"
"""Name of the pytest property that carries a class's counts to the table."""


def table(counts: Iterable[tuple[str, Mapping[str, int]]]) -> list[str]:
    """Return the table *class x outcome* as lines of Markdown."""
    outcomes = get_args(Outcome)
    lines = ["| class | tried | " + " | ".join(outcomes) + " |"]
    lines.append("|---" * (len(outcomes) + 2) + "|")
    total: Counter[str] = Counter()
    for name, found in [*counts, ("all", total)]:
        cells = [str(sum(found.values())), *(str(found.get(one, 0)) for one in outcomes)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        if name != "all":
            total.update(found)
    return lines
