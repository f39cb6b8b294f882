"""Count the clicks a user needs: corrections, against running everything again.

A simulated user starts with one click in the middle of the object, in the view that shows most of
it. Then the user compares a view with its exact mask and clicks the middle of the largest error
there, until the mean IoU over views is 0.95. The four ways differ in the view:

- *worst view*: the one with the lowest IoU; the click corrects the object.
- *proposed view*: the one that ``sa3d next-view`` proposes; the click corrects the object.
- *random view*: any that shows an error, for each of ``--seeds``; the click corrects the object.
- *one view, rerun*: always the first one, and each click starts the whole loop afresh.

    python scripts/benchmarks/corrections.py --demo room --prepare.ray-side 128
    python scripts/benchmarks/corrections.py --load-config RUN/config.yml --data DATA \
        --masks skull=DATA/masks_gt

With ``--output``, each row is written when it is measured. A later run skips the rows that are
there, and rows of several scenes come together in one table.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro
from scene import Masks, open_target, reference_prompt
from scene import Options as SceneOptions

from sa3d.base.errors import SA3DError
from sa3d.base.mask_overlap import iou
from sa3d.base.storage import atomic_path
from sa3d.evaluation.simulated_user import next_click
from sa3d.loop.session import Session
from sa3d.objects.prompts import Prompt
from sa3d.results.final_masks import final_mask
from sa3d.results.next_view import next_views
from sa3d.scene.scene import Scene
from sa3d.segmenters.loading import load_segmenter

GOALS = (0.85, 0.90, 0.95)
"""Mean IoU over views."""
HOW = ("worst view", "proposed view", "random view", "one view, rerun")


@dataclass
class Options(SceneOptions):
    """Command-line options."""

    clicks: int = 8
    """Largest number of corrections."""
    how: tuple[str, ...] = HOW
    """Ways to choose the next view."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the random views."""
    box: bool = False
    """Start with a box instead of a click."""


@dataclass(frozen=True)
class Run:
    """Mean IoU after each prompt, the start included, and the seconds each took."""

    ious: list[float]
    seconds: list[float]

    def clicks_to(self, goal: float) -> int | None:
        """Return the corrections until the goal was reached; None if it was not."""
        return next((i for i, value in enumerate(self.ious) if value >= goal), None)


def simulate(first: Session, exact: Masks, options: Options, how: str, seed: int) -> Run:
    """Simulate one user who corrects one object.

    Args:
        first: a session that found the object from the first prompt alone; it is not changed.
        seed: seed of the random views.
    """
    scene, (name,) = first.scene, first.result().objects
    prompts, random = first.prompts(name), np.random.default_rng(seed)
    start = prompts[0]
    session = Session(scene, load_segmenter("graphcut"), options.loop)
    session.resume(first.result())
    run = Run([], [])
    while True:
        started = time.perf_counter()
        try:
            for _ in session.run():
                pass
        except SA3DError:  # the segmenter finds nothing at the click: the user goes back
            session.undo()
        run.seconds.append(time.perf_counter() - started)
        masks = {i: final_mask(scene, session.result(), start.object, i)[0] for i in exact}
        values = {i: iou(masks[i], exact[i]) for i in exact if masks[i].any() or exact[i].any()}
        run.ious.append(float(np.mean(list(values.values()))))
        if run.ious[-1] >= GOALS[-1] or len(run.ious) > options.clicks:
            return run
        view = chosen_view(how, session, start, values, random)
        click = next_click(masks[view], exact[view])
        if click is None:
            return run
        place, label = click
        new = Prompt(scene.views[view].name, start.object, points=(place,), labels=(label,))
        prompts.append(new)
        if how == HOW[3]:
            session = Session(scene, load_segmenter("graphcut"), options.loop)
        session.add_prompts(prompts if how == HOW[3] else [new])


def chosen_view(
    how: str,
    session: Session,
    start: Prompt,
    ious: Mapping[int, float],
    random: np.random.Generator,
) -> int:
    """Return the view that the user corrects next, one of those with an error.

    Args:
        ious: present IoU by view.
    """
    wrong = [index for index, value in ious.items() if value < 1]
    if how == "proposed view":
        ranked = next_views(session.scene, session.result(), start.object)
        return next((one.index for one in ranked if one.index in wrong), wrong[0])
    if how == "random view":
        return int(random.choice(wrong))
    if how == HOW[3]:
        return session.scene.view_index(start.view)
    return min(wrong, key=lambda index: ious[index])


def segmented(scene: Scene, start: Prompt, options: Options) -> Session:
    """Return a session that has found an object from its first prompt."""
    session = Session(scene, load_segmenter("graphcut"), options.loop)
    session.add_prompts([start])
    for _ in session.run():
        pass
    return session


def first_prompt(scene: Scene, name: str, exact: Masks, box: bool) -> Prompt:
    """Return a click in the middle of the object, or its box, in the view that shows most of it."""
    view = max(exact, key=lambda index: int(exact[index].sum()))
    if box:
        return reference_prompt(scene, name, view, exact[view], 0)
    click = next_click(np.zeros_like(exact[view]), exact[view])
    assert click is not None
    return Prompt(scene.views[view].name, name, points=(click[0],), labels=(1,))


def row(name: str, how: str, seed: int, run: Run) -> dict[str, Any]:
    """Return a line of the table."""
    goals = {f"clicks_to_{goal:.2f}": run.clicks_to(goal) for goal in GOALS}
    per_click = float(np.median(run.seconds[1:])) if len(run.seconds) > 1 else None
    ious = {"start": run.ious[0], "best": max(run.ious), "end": run.ious[-1], "ious": run.ious}
    names = {"object": name, "how": how, "seed": seed}
    return {**names, **goals, **ious, "seconds_per_click": per_click}


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print a line per object and way."""
    print("| object | | start | clicks to .85 | .90 | .95 | best | end | s per click |")
    print("|---|---|---|---|---|---|---|---|---|")
    for one in rows:
        goals = [one[f"clicks_to_{goal:.2f}"] for goal in GOALS]
        clicks = " | ".join("-" if goal is None else str(goal) for goal in goals)
        values = " | ".join(f"{one[key]:.3f}" for key in ("best", "end"))
        seconds = one["seconds_per_click"]
        last = "-" if seconds is None else f"{seconds:.1f}"
        how = f"{one['how']} {one['seed']}" if one["how"] == HOW[2] else one["how"]
        first = f"{one['object']} | {how} | {one['start']:.3f}"
        print(f"| {first} | {clicks} | {values} | {last} |")


def print_summary(rows: Sequence[dict[str, Any]], clicks: int) -> None:
    """Print a line per way: means over objects, each object's runs averaged first.

    Clicks to a goal are means over all runs; a run that never reached the goal counts one click
    more than it had. The number of runs that reached it follows in brackets. A run that ended early
    keeps its last mean IoU.
    """
    after = " | ".join(f"IoU after {n}" for n in range(clicks + 1))
    print(f"\n| | clicks to .85 | .90 | .95 | {after} |")
    print("|---" * (5 + clicks) + "|")
    for how in dict.fromkeys(one["how"] for one in rows):
        runs = [one for one in rows if one["how"] == how]
        objects = [[r for r in runs if r["object"] == n] for n in {r["object"] for r in runs}]
        cells = []
        for goal in GOALS:
            found = [r[f"clicks_to_{goal:.2f}"] for r in runs]
            spent = [clicks + 1 if value is None else value for value in found]
            reached = len(found) - found.count(None)
            cells.append(f"{np.mean(spent):.1f} ({reached}/{len(found)})")
        for n in range(clicks + 1):
            values = [np.mean([r["ious"][min(n, len(r["ious"]) - 1)] for r in o]) for o in objects]
            cells.append(f"{np.mean(values):.3f}")
        print(f"| {how} | " + " | ".join(cells) + " |")


def main(options: Options) -> None:
    """Measure all objects in all ways."""
    scene, masks, _ = open_target(options)
    path = options.output / "corrections.json" if options.output else None
    rows = json.loads(path.read_text()) if path and path.exists() else []
    ways = [(how, s) for how in options.how for s in (options.seeds if how == HOW[2] else (0,))]
    for name in options.objects or masks:
        done = {(one["how"], one["seed"]) for one in rows if one["object"] == name}
        left = [way for way in ways if way not in done]
        if not left:
            continue
        first = segmented(scene, first_prompt(scene, name, masks[name], options.box), options)
        for how, seed in left:
            run = simulate(first, masks[name], options, how, seed)
            rows.append(row(name, how, seed, run))
            print(name, how, seed, " ".join(f"{value:.3f}" for value in run.ious), flush=True)
            if path:
                with atomic_path(path) as temporary:
                    temporary.write_text(json.dumps(rows, indent=1))
    print_table(rows)
    print_summary(rows, options.clicks)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
