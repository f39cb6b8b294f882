"""Words on the command line: the detector, and the candidates it finds."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from nerfstudio_plugin.api.models import detector_for
from nerfstudio_plugin.cli.progress import OUT, table
from sa3d.detectors.protocol import TextDetector
from sa3d.objects.prompts import Prompt
from sa3d.search.text_prompts import WordsChoice
from sa3d.segmenters.registry import AUTO


def told_detector(prompts: Sequence[Prompt], name: str, device: str) -> TextDetector | None:
    """``detector_for``; says which one "auto" took."""
    detector = detector_for(prompts, name, device)
    if detector is not None and name == AUTO:
        OUT.print(f"detector: {detector.name}", soft_wrap=True)
    return detector


def print_choices(choices: Sequence[WordsChoice]) -> None:
    """Print what became of words."""
    for choice in choices:
        OUT.print(f"{choice.object}: {choice.text!r} by {choice.detector}")
        OUT.print(candidates_table(choice))


def candidates_table(choice: WordsChoice) -> Table:
    """Candidates as rows, the chosen one first: where, scores, and what the other views say."""
    headers = ("candidate", "view", "box", "score", "agreement", "views", "total")
    rows = [
        (
            f"{position + 1}" + (", chosen" if position == 0 else ""),
            one.view,
            ",".join(f"{edge:g}" for edge in one.box),
            f"{one.score:.2f}",
            "-" if one.agreement is None else f"{one.agreement:.2f}",
            str(one.checked),
            f"{one.total:.2f}",
        )
        for position, one in enumerate(choice.candidates)
    ]
    return table(headers, rows)
