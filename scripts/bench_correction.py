"""What a correction costs besides the segmenter; a part of ``bench.py``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from sa3d.loop.session import Session
from sa3d.objects.prompts import Prompt
from sa3d.results.final_masks import final_masks


def correction_seconds(
    session: Session, name: str, in_segmenter: Callable[[], float], repeats: int
) -> dict[str, Any]:
    """Median seconds of a click in a view the user had not prompted, corrected and taken back.

    Args:
        session: with a finished object ``name``.
        in_segmenter: seconds spent in the segmenter so far.
    """
    scene, times, rests, asked = session.scene, [], [], []
    prompted = {scene.view_index(prompt.view) for prompt in session.prompts(name)}
    others = [index for index in range(len(scene.views)) if index not in prompted]
    result = session.result()
    seen = [i for i in others if final_masks(scene, result, i)[name][0].sum() > 50]
    for index in seen[:: max(1, len(seen) // repeats)][:repeats]:
        ys, xs = np.nonzero(final_masks(scene, result, index)[name][0])
        middle = int(np.abs(xs - xs.mean()).argmin())
        click = Prompt(
            scene.views[index].name, name, ((float(xs[middle]), float(ys[middle])),), (1,)
        )
        session.add_prompts([click])
        started, before = time.perf_counter(), in_segmenter()
        events = sum(1 for _ in session.run())
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        total = time.perf_counter() - started
        times.append(total)
        rests.append(total - (in_segmenter() - before))
        asked.append(events - 2)
        session.undo()
    return {
        "seconds": statistics.median(times),
        "besides_segmenter": statistics.median(rests),
        "views_asked": statistics.median(asked),
    }
