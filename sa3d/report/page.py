"""Build the HTML page of a report: gather the facts and images, fill the template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from importlib.resources import files
from typing import Any

import numpy as np

from sa3d.base.errors import SA3DError
from sa3d.export.box import Box, object_box
from sa3d.export.config import BoxConfig, MeshConfig
from sa3d.export.frames import Placement
from sa3d.export.manifest import FoundExport
from sa3d.export.mesh import object_mesh
from sa3d.geometry.view_schedule import camera_distances, farthest_views
from sa3d.objects.segmentation import ObjectResult, Segmentation, ViewRecord
from sa3d.report.config import ReportConfig
from sa3d.report.images import HEAT, UNKNOWN, data_uri, doubt_image, jpeg_uri, prompt_image
from sa3d.report.turntable import MeshRenderer, animated_webp, turntable_cameras
from sa3d.results.final_masks import final_mask
from sa3d.results.rendering import ObjectRenderer, tinted
from sa3d.scene.scene import Scene
from sa3d.voting.user_prompts import has_drawn_mask

_WHY = {
    "rejected": "agrees too little with the other views: is under the gate",
    "held out": "measures, does not vote",
    "unseen": "the object is not in it",
    "no prompt": "nothing certain enough to prompt with",
}


_TURNING_MESH = MeshConfig(samples_per_voxel=2, faces=None, texture_size=0)
"""Settings of the turning mesh: for small images, all faces with colors per vertex."""


def report_page(
    scene: Scene,
    segmentation: Segmentation,
    names: Sequence[str],
    source: Mapping[str, Any],
    *,
    config: ReportConfig | None = None,
    placement: Placement | None = None,
    min_agreement: float | None = None,
    exports: Sequence[FoundExport] = (),
    title: str = "a scene",
    progress: Callable[[str], None] = lambda _: None,
) -> str:
    """Build a report as one self-contained HTML page; it loads no other files.

    Args:
        scene: prepared, of the segmentation.
        segmentation: with the objects.
        names: of the objects on the page.
        source: origin of the segmentation, as in the manifests of exports.
        config: settings.
        placement: frame of lengths; the world frame by default.
        min_agreement: lowest agreement at which the loop accepted views, shown as the reason of
            rejected views.
        exports: exported files to list.
        title: of the page.
        progress: called with an object's name after each of its ``images_per_object``.

    Returns:
        The HTML.

    Raises:
        SA3DError: there is no such object, or a photo is missing.
    """
    from jinja2 import Environment, StrictUndefined

    config = config or ReportConfig()
    placement = placement or Placement.nerfstudio()
    template = files("sa3d.report").joinpath("page.html").read_text(encoding="utf-8")
    page = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(template)
    maker = _ObjectPage(scene, segmentation, config, placement, min_agreement, progress)
    return page.render(
        title=title,
        created=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        objects=[maker.content(name) for name in names],
        views=len(scene.views),
        elements=len(segmentation.elements),
        resolution=segmentation.elements.grid.resolution,
        frame=placement.frame,
        turning=config.turning,
        source=source,
        exports=exports,
        heat=["rgb({}, {}, {})".format(*color) for color in HEAT],
        unknown="rgb({}, {}, {})".format(*UNKNOWN),
    )


def images_per_object(config: ReportConfig) -> int:
    """Return the largest number of calls of ``progress`` by ``report_page`` for one object."""
    frames = config.turntable_frames if config.turntable else 0
    return config.max_views + config.doubt_views + config.rejected_views + frames


@dataclass(frozen=True)
class _ObjectPage:
    """Facts and images for the page, gathered object by object."""

    scene: Scene
    segmentation: Segmentation
    config: ReportConfig
    placement: Placement
    min_agreement: float | None
    progress: Callable[[str], None]

    def content(self, name: str) -> dict[str, Any]:
        """Return the values of one object for ``page.html``."""
        one = self.segmentation.object(name)
        label = list(self.segmentation.objects).index(name)
        color = self.segmentation.colors[name]
        shown = shown_views(self.scene, one, self.config.max_views)
        rejected = [i for i, record in sorted(one.views.items()) if record.outcome == "rejected"]
        return {
            "name": name,
            "label": label,
            "converged": one.converged,
            "verdict": one.verdict,
            "elements": int((self.segmentation.labels() == label).sum()),
            "counts": Counter(record.outcome for record in one.views.values()),
            "rounds": one.rounds,
            "kept": next((done for done in one.rounds if done.round == one.kept_round), None),
            "prompts": self._prompts(one),
            **self._in_space(name),
            "grid": [self._view(one, i, self._masked(name, i)) for i in shown],
            "doubt": [
                self._view(one, i, doubt_image(self.scene, self.segmentation, name, i))
                for i in shown[: self.config.doubt_views]
            ],
            "rejected": [
                self._view(one, i, tinted(self.scene.views[i].image(), mask, color))
                for i in rejected[: self.config.rejected_views]
                if (mask := one.views[i].mask) is not None
            ],
            "all_views": [self._row(index, record) for index, record in sorted(one.views.items())],
        }

    def _prompts(self, one: ObjectResult) -> list[dict[str, Any]]:
        shown = []
        for index in prompted_views(self.scene, one):
            here = [p for p in one.prompts if p.view and self.scene.view_index(p.view) == index]
            image = prompt_image(self.scene, index, here)
            parts = [part for prompt in here for part in _in_words(prompt.to_json())]
            if has_drawn_mask(here):
                parts.append("a mask")
            shown.append(
                {
                    "view": self.scene.views[index].name,
                    "image": jpeg_uri(image, self.config.picture_side),
                    "parts": "; ".join(parts),
                }
            )
        return shown

    def _in_space(self, name: str) -> dict[str, Any]:
        """Return the object's dimensions and turntable, or the problem if it has no surface."""
        turning = None
        try:
            world = object_box(self.scene, self.segmentation, name, BoxConfig(upright=True))
            if self.config.turntable:
                turning = data_uri(animated_webp(self._turn(name, world)), "image/webp")
        except SA3DError as error:
            return {"problem": str(error), "dimensions": None, "turntable": None}
        box = world.placed(self.placement)
        return {"problem": None, "dimensions": box.dimensions.tolist(), "turntable": turning}

    def _turn(self, name: str, world: Box) -> list[np.ndarray]:
        """Return the images of one turn."""
        if self.config.turning == "mesh":
            draw = MeshRenderer(
                object_mesh(self.scene, self.segmentation, name, _TURNING_MESH)
            ).draw
        else:
            draw = partial(
                ObjectRenderer(self.scene, self.segmentation, name).from_camera, kind="object"
            )
        frames = []
        config = self.config
        for camera in turntable_cameras(
            self.scene, world, config.turntable_frames, config.turntable_side
        ):
            frames.append(draw(camera))
            self.progress(name)
        return frames

    def _masked(self, name: str, index: int) -> Any:
        mask, _ = final_mask(self.scene, self.segmentation, name, index)
        return tinted(self.scene.views[index].image(), mask, self.segmentation.colors[name])

    def _view(self, one: ObjectResult, index: int, pixels: Any) -> dict[str, Any]:
        self.progress(one.name)
        uri = jpeg_uri(pixels, self.config.picture_side)
        record = one.views.get(index)
        empty = {"view": self.scene.views[index].name, "outcome": "not visited", "agreement": None}
        return (self._row(index, record) if record else empty) | {"image": uri}

    def _row(self, index: int, record: ViewRecord) -> dict[str, Any]:
        why = record.reason or _WHY.get(record.outcome, "")
        if why.endswith("under the gate") and self.min_agreement is not None:
            why += f" of {self.min_agreement:g}"
        has_mask = record.outcome not in ("unseen", "no prompt")
        return {
            "view": self.scene.views[index].name,
            "outcome": record.outcome,
            "agreement": record.agreement if has_mask else None,
            "score": record.score if has_mask else None,
            "why": why,
        }


def _in_words(prompt: Mapping[str, Any]) -> list[str]:
    """Describe the parts of a prompt in words, without its mask."""
    words = [f"“{prompt['text']}”"] if "text" in prompt else []
    if "box" in prompt:
        words.append("box " + ", ".join(f"{value:g}" for value in prompt["box"]))
    labels = prompt.get("labels", ())
    on, beside = sum(labels), len(labels) - sum(labels)
    words += [f"{on} point{'s' * (on > 1)} on it"] if on else []
    words += [f"{beside} point{'s' * (beside > 1)} beside it"] if beside else []
    return words


def prompted_views(scene: Scene, one: ObjectResult) -> list[int]:
    """Return the views with the user's prompts for an object, in the order of the prompts."""
    named = [scene.view_index(prompt.view) for prompt in one.prompts if prompt.view]
    return list(dict.fromkeys(named))


def shown_views(scene: Scene, one: ObjectResult, count: int) -> list[int]:
    """Choose up to ``count`` views of an object: the prompted ones, then the farthest from those.

    Views that do not see the object are left out. Views without prompts are in the order of the
    scene.
    """
    first = prompted_views(scene, one)
    rest = [i for i, r in one.views.items() if r.outcome not in ("unseen", "no prompt")]
    distances = camera_distances([view.camera for view in scene.views])
    chosen = farthest_views(distances, sorted(set(rest) - set(first)), count, first)
    return chosen[: len(first)] + sorted(chosen[len(first) :])
