"""Words on the command line: searched for, shown as candidates, turned into ordinary prompts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from nerfstudio_plugin.cli_progress import OUT, prepare_with_progress, progress_bar, table
from sa3d.detectors import load_detector
from sa3d.loop_config import LoopConfig
from sa3d.prompts import Prompt
from sa3d.scene import Scene
from sa3d.segmenter import PromptableSegmenter
from sa3d.segmenters.registry import AUTO
from sa3d.session import Session
from sa3d.text_detector import TextDetector
from sa3d.text_prompts import WordsChoice, WordsConfig, WordSearch, check_words, needs_words


def detector_for(prompts: Sequence[Prompt], name: str, device: str) -> TextDetector | None:
    """The detector called ``name`` if any prompt needs one; says which one "auto" took.

    Raises:
        SA3DError: see :func:`sa3d.detectors.load_detector`.
    """
    if not any(needs_words(prompt) for prompt in prompts):
        return None
    detector = load_detector(name, device)
    if name == AUTO:
        OUT.print(f"detector: {detector.name}", markup=False, soft_wrap=True)
    return detector


def words_to_prompts(
    scene: Scene,
    segmenter: PromptableSegmenter,
    detector: TextDetector | None,
    prompts: Sequence[Prompt],
    config: WordsConfig,
    loop: LoopConfig,
) -> tuple[list[Prompt], list[WordsChoice]]:
    """Prompts without words in need of a detector, and what became of the words.

    Prepares the scene and prints the candidates if there are such words.

    Raises:
        SA3DError: a prompt does not fit the scene, or nothing fits the words.
    """
    if detector is None:
        return list(prompts), []
    for prompt in prompts:
        if needs_words(prompt):
            check_words(scene, prompt)
        else:
            Session(scene, segmenter, loop).add_prompts([prompt])
    prepare_with_progress(scene)
    choices: list[WordsChoice] = []
    resolved: list[Prompt] = []
    for prompt in prompts:
        if not needs_words(prompt):
            resolved.append(prompt)
            continue
        search = WordSearch(scene, segmenter, detector, prompt, config, loop)
        with progress_bar() as bar:
            task = bar.add_task(f"looking for {search.text!r}", total=len(search.views))
            for _ in search.run():
                bar.advance(task)
        choice = search.result()
        OUT.print(f"{choice.object}: {choice.text!r} by {choice.detector}", markup=False)
        OUT.print(candidates_table(choice))
        choices.append(choice)
        resolved.append(choice.prompt)
    return resolved, choices


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
