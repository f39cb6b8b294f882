"""The budget of the fuzz suite, and its trials."""

from __future__ import annotations

import os
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from fuzz_tally import FAILURES, PROPERTY, Outcome

SECONDS = float(os.environ.get("SA3D_FUZZ_SECONDS", "60"))
"""Of the whole suite; ``make fuzz`` sets an hour."""
SEED = os.environ.get("SA3D_FUZZ_SEED", "0")
CLASSES = 36
"""About as many tests share the seconds."""
LEAST = 2
"""Trials of every class, however slow they are."""

Trial = Callable[[Random, Path], Outcome]
"""One trial in an empty folder of its own."""


class Fuzz:
    """Runs the trials of one class until its share of the time is over."""

    def __init__(self, record: Callable[[str, object], None], folder: Path) -> None:
        self._record, self._folder = record, folder

    def run(self, name: str, trial: Trial, *, weight: float = 1.0, least: int = LEAST) -> None:
        """Run trials; fail if one of them ended in a failure, with how to repeat it."""
        counts: Counter[Outcome] = Counter()
        failures: list[str] = []
        end = time.monotonic() + SECONDS * weight / CLASSES
        while sum(counts.values()) < least or time.monotonic() < end:
            number = sum(counts.values())
            place = self._folder / f"trial{number}"
            place.mkdir()
            try:
                outcome, note = trial(Random(f"{SEED} {name} {number}"), place), ""
            except Exception:
                outcome, note = "traceback", traceback.format_exc(limit=-6)
            counts[outcome] += 1
            if outcome in FAILURES:
                failures.append(f"trial {number} in {place}: {outcome}\n{note}")
        self._record(PROPERTY, (name, dict(counts)))
        if failures:
            message = f"{name}: {len(failures)} of {sum(counts.values())} trials failed"
            shown = "\n".join(failures[:5])
            pytest.fail(f"{message} (SA3D_FUZZ_SEED={SEED}):\n{shown}", pytrace=False)


@pytest.fixture
def fuzz(record_property, tmp_path):
    """Runs trials of one class."""
    return Fuzz(record_property, tmp_path)
