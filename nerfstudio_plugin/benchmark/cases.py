"""Objects with frozen prompts and exact masks, read from data sets.

Layouts:

- *demo*: the scenes that come with the program, with their prompts.
- *folders*: ``<data>/<scene>/masks_gt/[<object>/]<image stem>.png``. The view in which
  the object is largest is the reference; the box of its exact mask is the prompt.
- *nvos*: Ren et al., "Neural Volumetric Object Selection" (CVPR 2022), labels for LLFF scenes:
  ``masks/<scene>/<target>_mask.png`` beside the target's photo,
  ``reference_image/<scene>/<image>``, ``scribbles/<scene>/pos_*.png`` and ``neg_*.png``, all below
  ``<data>`` or its ``labels/llff``.
- *spin-nerf*: Mirzaei et al., "SPIn-NeRF" (CVPR 2023), ``<data>/<scene>/<image stem>.png``, other
  files beside them named ``...cutout...`` and ``...pseudo...``. The first annotated view is the
  reference; the box of its exact mask is the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nerfstudio_plugin.benchmark.config import Layout
from nerfstudio_plugin.demo.data import open_demo
from sa3d.base.errors import SA3DError
from sa3d.base.image_files import read_image
from sa3d.evaluation.simulated_user import box_of
from sa3d.objects.prompts import Prompt
from sa3d.scene.views import View

HOLD_OUT = 8
"""One of this many annotated views is a target, as every eighth photo of LLFF scenes is for tests.
If that leaves only the prompted view, all others are targets."""
SCRIBBLE_SHARES = {1: 0.02, 0: 0.005}
"""Share of a scribble's skeleton pixels that become points, by label; from SA3D's authors' sampling
of NVOS (lib/load_nvos.py of their code)."""


@dataclass(frozen=True)
class Case:
    """One object to segment and to compare.

    Attributes:
        scene: name of the scene.
        object: name of the object.
        load_config: the trained run.
        data: its photos and cameras, if they are not where its config says.
        masks: files of exact masks by the stem of their photo.
        reference: stem of the photo that is prompted.
        targets: stems of the photos that the protocol "unseen" never uses.
        prompts: returns the prompts for the run's views, whose size they need.
    """

    scene: str
    object: str
    load_config: Path
    data: Path | None
    masks: Mapping[str, Path]
    reference: str
    targets: tuple[str, ...]
    prompts: Callable[[Sequence[View]], list[Prompt]]

    def exact_masks(self, views: Sequence[View]) -> dict[int, np.ndarray]:
        """Return the exact masks, bool [H, W] at the photos' size, by index of the view.

        Raises:
            SA3DError: a mask belongs to no view, or cannot be read.
        """
        return {
            (index := view_of(views, stem)): read_mask(path, views[index])
            for stem, path in self.masks.items()
        }


def view_of(views: Sequence[View], stem: str) -> int:
    """Return the index of the view whose photo has this stem; leading zeros may differ.

    Raises:
        SA3DError: there is no such view.
    """
    stems = [Path(view.name).stem.lstrip("0") for view in views]
    if stem.lstrip("0") not in stems:
        raise SA3DError(
            f"the run has no photo {stem!r}, which the annotations name: it was trained on "
            f"{views[0].name} and {len(views) - 1} others"
        )
    return stems.index(stem.lstrip("0"))


def read_mask(path: Path, view: View) -> np.ndarray:
    """Read a mask, bool [H, W], and resize it to the view's size by nearest pixels.

    Raises:
        SA3DError: the file cannot be read.
    """
    values = _read_grey(path, (view.camera.width, view.camera.height))
    return values > (127 if values.max() > 127 else 0)


def demo_cases(objects: Mapping[str, Sequence[str]]) -> list[Case]:
    """Return the cases of the demo scenes.

    Args:
        objects: names of objects by scene; an empty list takes all of the scene.

    Raises:
        SA3DError: there is no such object.
    """
    cases = []
    for scene, names in objects.items():
        demo = open_demo(scene)
        for name in names or demo.prompts:
            if name not in demo.prompts:
                raise SA3DError(f"no object {name!r} in {scene}: {', '.join(demo.prompts)}")
            prompt = demo.prompts[name]
            masks = _by_stem(sorted((demo.folder / "masks_gt" / name).glob("*.png")))
            cases.append(
                Case(
                    scene,
                    name,
                    demo.load_config,
                    demo.folder,
                    masks,
                    Path(prompt.view).stem,
                    _held_out(masks, Path(prompt.view).stem),
                    lambda _, prompt=prompt: [prompt],
                )
            )
    return cases


def data_cases(layout: Layout, data: Path, runs: Path, seed: int) -> list[Case]:
    """Return the cases of a data set on disk; skips scenes without a trained run.

    Args:
        layout: see the module.
        data: folder of the data set.
        runs: holds ``<scene>/.../config.yml``.
        seed: for points sampled from scribbles.

    Raises:
        SA3DError: a folder does not exist, it is not in the layout, or no scene has a run.
    """
    for folder in (data, runs):
        if not folder.is_dir():
            raise SA3DError(
                f"{folder} is not a folder: give 'data', the data set, and 'runs', its runs"
            )
    find = {"folders": _folders, "nvos": _nvos, "spin-nerf": _spin_nerf}[layout]
    cases = find(data, runs, seed)
    if not cases:
        raise SA3DError(
            f"nothing to measure: no scene in {data} is in the layout {layout!r} and has a run in "
            f"{runs} (<scene>/.../config.yml)"
        )
    return cases


def _folders(data: Path, runs: Path, seed: int) -> list[Case]:
    cases = []
    for folder in sorted(data.glob("*/masks_gt")):
        scene = folder.parent
        run = _run_of(runs, scene.name)
        below = sorted(entry for entry in folder.iterdir() if entry.is_dir())
        for place in below or [folder]:
            masks = _by_stem(sorted(place.glob("*.png")))
            if run is not None and masks:
                name = place.name if below else "object"
                reference = max(masks, key=lambda stem: _area(masks[stem]))
                cases.append(_boxed(scene.name, name, run, scene, masks, reference))
    return cases


def _spin_nerf(data: Path, runs: Path, seed: int) -> list[Case]:
    cases = []
    for scene in sorted(entry for entry in data.iterdir() if entry.is_dir()):
        run = _run_of(runs, scene.name)
        files = [p for p in sorted(scene.glob("*.png")) if not _is_extra(p.stem)]
        if run is not None and files:
            masks = _by_stem(files)
            cases.append(_boxed(scene.name, "object", run, None, masks, next(iter(masks))))
    return cases


def _nvos(data: Path, runs: Path, seed: int) -> list[Case]:
    labels = data / "labels/llff" if (data / "labels/llff").is_dir() else data
    cases = []
    for folder in sorted(entry for entry in labels.glob("masks/*") if entry.is_dir()):
        run = _run_of(runs, folder.name) or _run_of(runs, folder.name.split("_")[0])
        masks = {path.stem.removesuffix("_mask"): path for path in folder.glob("*_mask.png")}
        references = sorted((labels / "reference_image" / folder.name).glob("*"))
        scribbles = sorted((labels / "scribbles" / folder.name).glob("*.png"))
        if run is None or not (masks and references and scribbles):
            continue
        reference = references[0].stem
        prompts = _scribbled(reference, scribbles, seed)
        cases.append(
            Case(folder.name, "object", run, None, masks, reference, tuple(masks), prompts)
        )
    return cases


def _boxed(
    scene: str, name: str, run: Path, data: Path | None, masks: Mapping[str, Path], reference: str
) -> Case:
    """Return a case whose prompt is the box of the reference's exact mask."""

    def prompts(views: Sequence[View]) -> list[Prompt]:
        view = views[view_of(views, reference)]
        return [Prompt(view.name, name, box=box_of(read_mask(masks[reference], view)))]

    return Case(scene, name, run, data, masks, reference, _held_out(masks, reference), prompts)


def _scribbled(
    reference: str, scribbles: Sequence[Path], seed: int
) -> Callable[[Sequence[View]], list[Prompt]]:
    """Return a function that puts points on skeletons of scribbles (``pos*``, ``neg*`` files)."""

    def prompts(views: Sequence[View]) -> list[Prompt]:
        from skimage.morphology import skeletonize

        view = views[view_of(views, reference)]
        generator = np.random.default_rng(seed)
        marked: list[tuple[tuple[float, float], int]] = []
        for path in scribbles:
            label = int(path.stem.startswith("pos"))
            y, x = np.nonzero(skeletonize(read_mask(path, view)))
            count = max(1, round(SCRIBBLE_SHARES[label] * len(x)))
            for i in generator.permutation(len(x))[:count]:
                marked.append(((float(x[i]), float(y[i])), label))
        points, labels = zip(*marked, strict=True)
        return [Prompt(view.name, "object", points, labels)]

    return prompts


def _held_out(masks: Mapping[str, Path], reference: str) -> tuple[str, ...]:
    others = tuple(stem for stem in masks if stem != reference)
    return tuple(stem for stem in list(masks)[::HOLD_OUT] if stem != reference) or others


def _run_of(runs: Path, scene: str) -> Path | None:
    """Return the newest run of a scene, by the names that Nerfstudio gives them."""
    return max((runs / scene).glob("**/config.yml"), default=None)


def _by_stem(paths: Sequence[Path]) -> dict[str, Path]:
    return {path.stem: path for path in paths}


def _is_extra(stem: str) -> bool:
    return "cutout" in stem or "pseudo" in stem


def _area(path: Path) -> int:
    return int(np.count_nonzero(_read_grey(path)))


def _read_grey(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read an image in grey, uint8 [H, W], at its own size or resized to (W, H)."""
    from PIL import Image

    grey = read_image(path, "the mask").convert("L")
    return np.asarray(grey.resize(size, Image.Resampling.NEAREST) if size else grey)
