"""A prepared scene: views, their operators and their image encodings, cached on disk.

The field is frozen, so each view's operator is evaluated once and kept. Segmenting and correcting
objects does not use the field again. The name of a scene's cache folder is a hash of all that its
content depends on, so another checkpoint or another setting has a folder of its own.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sa3d.base.array_files import load_arrays, save_arrays
from sa3d.base.errors import SA3DError
from sa3d.base.json_files import read_json
from sa3d.base.storage import atomic_path
from sa3d.fields.radiance_field import RadianceField
from sa3d.geometry.camera import Camera
from sa3d.scene.config import PrepareConfig
from sa3d.scene.elements import Elements, MaskGrid
from sa3d.scene.events import ViewPrepared
from sa3d.scene.view_operator import ViewOperator, ViewRender, build_view_operator, unproject
from sa3d.scene.views import View, find_view
from sa3d.segmenters.protocol import EncodesBatches, PromptableSegmenter

CACHE_VERSION = 1

_LOG = logging.getLogger(__name__)
_Stored = tuple[ViewOperator, Mapping[str, np.ndarray]]
"""A view's unbound operator, and the arrays in its file."""


@dataclass(frozen=True)
class PreparedView:
    """A view as the loop uses it, at the operator's resolution (h, w).

    Attributes:
        camera: at this resolution.
        operator: the operator ``W`` of this view, bound to the scene's elements.
        render: color, depth and accumulation as rendered by the field.
        points_world: [h, w, 3] the surface point seen in each pixel, world frame.
    """

    camera: Camera
    operator: ViewOperator
    render: ViewRender
    points_world: Tensor

    def mask_to_rays(self, mask: np.ndarray) -> Tensor:
        """Return the share of each ray's pixel that a mask covers: [R] in [0, 1], on the CPU.

        Args:
            mask: [H, W] bool, or in [0, 1]; of any size.
        """
        size = (self.camera.height, self.camera.width)
        pixels = torch.from_numpy(mask)[None, None].float()
        return torch.nn.functional.interpolate(pixels, size, mode="area").reshape(-1)


class EncodingMemory:
    """Image encodings of one segmenter in memory: the first ones used, up to a number of bytes.

    Rounds visit all views in turn. If not all encodings fit, dropping the oldest would drop every
    encoding just before it is needed again.
    """

    def __init__(self, max_bytes: int = 1 << 29) -> None:
        self._free = self._max = max_bytes
        self._segmenter = ""
        self._states: dict[int, Mapping[str, np.ndarray]] = {}

    def get(self, index: int, segmenter: str) -> Mapping[str, np.ndarray] | None:
        """Return the encoding of a view, or None if it is not in memory."""
        return self._states.get(index) if segmenter == self._segmenter else None

    def add(self, index: int, segmenter: str, state: Mapping[str, np.ndarray]) -> None:
        """Add an encoding if there is room; drop those of another segmenter."""
        if segmenter != self._segmenter:
            self._states, self._free, self._segmenter = {}, self._max, segmenter
        size = sum(array.nbytes for array in state.values())
        if index not in self._states and size <= self._free:
            self._states[index], self._free = state, self._free - size


class Scene:
    """The views of a frozen radiance field, prepared once to segment any number of objects.

    Attributes:
        field: the radiance field.
        views: the views, in the order of their indices.
        config: how the scene is prepared.
        device: torch device of the operators and of the loop.
        grid: the mask grid.
        key: hash of all that the view operators depend on.
        cache: folder of this scene's cache.
        elements: the scene's elements; empty before ``prepare`` has finished.

    Example:
        >>> scene = Scene(field, views, Path("cache"))
        >>> for event in scene.prepare():
        ...     print(f"{event.index + 1}/{event.total} {event.view}")
        >>> scene.prepared(0).operator.num_elements == len(scene.elements)
        True
    """

    def __init__(
        self,
        field: RadianceField,
        views: Sequence[View],
        cache_root: Path,
        config: PrepareConfig | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        """Create a scene without evaluating the field; ``prepare`` does that.

        Args:
            field: the radiance field.
            views: at least one.
            cache_root: folder for caches; this scene's cache is a subfolder named by ``key``.
            config: how to prepare the scene; None is ``PrepareConfig()``.
            device: torch device of the operators and of the loop.

        Raises:
            SA3DError: there are no views.
        """
        if not views:
            raise SA3DError("the scene has no views")
        self.field = field
        self.views = list(views)
        self.config = config or PrepareConfig()
        self.device = torch.device(device)
        self.grid = MaskGrid(field.bounds, self.config.resolution)
        self.key = _scene_key(field.fingerprint, self.views, self.config)
        self.cache = scene_cache(cache_root, self.key)
        self.elements = Elements(self.grid, torch.empty(0, dtype=torch.int64))
        self._prepared: list[PreparedView] = []
        self._encodings = EncodingMemory()

    def prepare(self) -> Iterator[ViewPrepared]:
        """Evaluate the views that are not in the cache yet.

        An interrupted call can be repeated: evaluated views stay in the cache.

        Yields:
            One event for each view, in order.

        Raises:
            SA3DError: the disk is full, the cache was made from something else, or the field
                renders NaN.
        """
        self._write_manifest()
        stored: list[_Stored] = []
        problems: list[str] = []
        for index, view in enumerate(self.views):
            found, problem = self._load_view(index)
            problems += [problem] if problem else []
            stored.append(found or self._evaluate_view(index))
            yield ViewPrepared(index, len(self.views), view.name, found is not None)
        if problems:
            _LOG.warning(
                "views in the scene cache were damaged or written by an older version; %d of %d "
                "were evaluated again (%s)",
                *(len(problems), len(self.views), problems[0]),
            )
        self._assemble(stored)

    def is_prepared(self) -> bool:
        """Return whether ``prepare`` has finished, so that every view's operator is loaded."""
        return len(self._prepared) == len(self.views)

    def prepared(self, index: int) -> PreparedView:
        """Return the prepared view with index ``index``.

        Raises:
            RuntimeError: ``prepare`` has not finished.
        """
        if not self.is_prepared():
            raise RuntimeError("the scene is not prepared: run Scene.prepare() to its end first")
        return self._prepared[index]

    def without_views(self, hidden: Collection[int]) -> Scene:
        """Return this prepared scene without some of its views.

        The elements stay the same, so an object that is segmented without a view can be rendered in
        that view. The remaining views have new indices and their encodings a cache folder of their
        own.

        Args:
            hidden: indices of the views to leave out.

        Raises:
            RuntimeError: ``prepare`` has not finished.
            SA3DError: no view is left.
        """
        shown = [index for index in range(len(self.views)) if index not in hidden]
        if not shown:
            raise SA3DError("all views are hidden: hide fewer views")
        rest = copy.copy(self)
        rest._prepared = [self.prepared(index) for index in shown]
        rest.views = [self.views[index] for index in shown]
        rest._encodings = EncodingMemory()
        rest.cache = self.cache / f"views_{hashlib.sha256(repr(shown).encode()).hexdigest()[:16]}"
        return rest

    def view_index(self, name: str) -> int:
        """Return the index of the view with a name that a user typed; see ``find_view``.

        Raises:
            SA3DError: no view has that name, or several views have it.
        """
        return self.views.index(find_view(self.views, name))

    def encode(self, index: int, segmenter: PromptableSegmenter) -> None:
        """Make the photo of a view the segmenter's current image.

        The encoding is read from memory or from the cache, if possible. A segmenter that is faster
        with batches encodes the following views too, since all views are needed in turn.

        Raises:
            SA3DError: the photo cannot be read, the disk is full, or there is too little memory.
        """
        state = self._encodings.get(index, segmenter.name)
        if state is not None:
            segmenter.restore_state(state)
            return
        image = self.views[index].image()
        path = self._encoding_path(index, image, segmenter)
        if not path.exists() and isinstance(segmenter, EncodesBatches) and segmenter.batch_size > 1:
            self._encode_from(index, segmenter)
        if path.exists():
            try:
                state = load_arrays(path, belongs_to=self._encoding_identity(path))
                segmenter.restore_state(state)
            except (SA3DError, LookupError, ValueError, TypeError, RuntimeError) as error:
                state = None
                remove_damaged(path)
                _LOG.warning(
                    "the encoding of a photo was damaged or written by an older version; it was "
                    "encoded again (%s)",
                    error,
                )
        if state is None:
            segmenter.set_image(image)
            state = dict(segmenter.save_state())
            self._write(path, state, self._encoding_identity(path))
        self._encodings.add(index, segmenter.name, state)

    def _encode_from(self, index: int, segmenter: PromptableSegmenter) -> None:
        """Encode one batch of views that are not in the cache, from ``index`` on."""
        assert isinstance(segmenter, EncodesBatches)
        paths: list[Path] = []
        images: list[np.ndarray] = []
        for turn in range(len(self.views)):
            other = (index + turn) % len(self.views)
            image = self.views[other].image()
            path = self._encoding_path(other, image, segmenter)
            if not path.exists():
                paths.append(path)
                images.append(image)
            if len(images) == segmenter.batch_size:
                break
        for path, state in zip(paths, segmenter.encode_images(images), strict=True):
            self._write(path, state, self._encoding_identity(path))

    def _write(self, path: Path, arrays: Mapping[str, np.ndarray], belongs_to: str) -> None:
        """Write a file of the cache; what a failure of power takes is made again."""
        save_arrays(path, arrays, belongs_to=belongs_to, durable=False)

    def _encoding_identity(self, path: Path) -> str:
        """Return what an encoding belongs to: a segmenter, and a view's photo by its hash."""
        return f"encoding {path.parent.name} {path.stem}"

    def _encoding_path(self, index: int, image: np.ndarray, segmenter: PromptableSegmenter) -> Path:
        digest = hashlib.sha256(image.tobytes()).hexdigest()[:16]
        name = "".join(c if c.isalnum() or c in "-._" else "_" for c in segmenter.name)
        return self.cache / "encodings" / name / f"{index:05d}-{digest}.npz"

    def _view_path(self, index: int) -> Path:
        return self.cache / "views" / f"{index:05d}.npz"

    def _view_identity(self, index: int) -> str:
        return f"view {index} of scene {self.key}"

    def _load_view(self, index: int) -> tuple[_Stored | None, str]:
        """Read a view from the cache; remove its file if something is wrong with it.

        Returns:
            The view, or None if it is not in the cache; and what was wrong.
        """
        path, camera = self._view_path(index), self.views[index].camera.fitted(self.config.ray_side)
        if not path.exists():
            return None, ""
        size = (camera.height, camera.width)
        kinds = ViewOperator.array_kinds(camera.height * camera.width)
        kinds |= {"rgb": ("uint8", (*size, 3)), "depth": ("float32", size)}
        kinds |= {"accumulation": ("float16", size)}
        try:
            arrays = load_arrays(path, kinds, belongs_to=self._view_identity(index))
            return (ViewOperator.from_arrays(arrays, self.config.resolution**3), arrays), ""
        except SA3DError as error:
            remove_damaged(path)
            return None, str(error)

    def _evaluate_view(self, index: int) -> _Stored:
        """Evaluate the field for a view, and write it to the cache."""
        camera = self.views[index].camera.fitted(self.config.ray_side)
        operator, render = build_view_operator(
            self.field, camera, self.grid, min_weight=self.config.min_weight
        )
        arrays = operator.arrays() | _render_arrays(render)
        self._write(self._view_path(index), arrays, self._view_identity(index))
        return operator, arrays

    def _write_manifest(self) -> None:
        path = self.cache / "scene.json"
        manifest = {
            "version": CACHE_VERSION,
            "key": self.key,
            "field": self.field.fingerprint,
            "config": asdict(self.config),
            "views": [view.name for view in self.views],
        }
        if path.exists():
            try:
                if read_json(path) == manifest:
                    return
            except SA3DError as error:  # the views carry what they belong to, so they can stay
                remove_damaged(path)
                _LOG.warning("a file of the scene cache was damaged and is made again (%s)", error)
            else:
                raise SA3DError(
                    f"the scene cache {self.cache} was made from something else: delete it, or set "
                    "'cache_dir' to another folder"
                )
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1))

    def _assemble(self, stored: list[_Stored]) -> None:
        keys = np.unique(np.concatenate([operator.keys.numpy() for operator, _ in stored]))
        self.elements = Elements(self.grid, torch.from_numpy(keys).to(self.device))
        self._prepared = [
            _prepared_view(view.camera.fitted(self.config.ray_side), operator, arrays, self)
            for view, (operator, arrays) in zip(self.views, stored, strict=True)
        ]


def scene_cache(cache_root: Path, key: str) -> Path:
    """Return the cache folder of the scene with a key."""
    return cache_root / key[:16]


def remove_damaged(path: Path) -> None:
    """Remove a damaged file from a cache.

    Raises:
        SA3DError: it is a folder, or cannot be removed.
    """
    if path.is_dir():
        raise SA3DError(f"{path} is a folder, but a file of the cache is called so: delete it")
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise SA3DError(f"cannot remove the damaged file {path}: {error.strerror}") from error


def _prepared_view(
    camera: Camera, operator: ViewOperator, arrays: Mapping[str, np.ndarray], scene: Scene
) -> PreparedView:
    render = ViewRender(
        rgb=torch.from_numpy(arrays["rgb"].astype(np.float32) / 255),
        depth=torch.from_numpy(arrays["depth"]),
        accumulation=torch.from_numpy(arrays["accumulation"].astype(np.float32)),
    )
    points = unproject(camera.image_rays(), render.depth)
    return PreparedView(
        camera=camera,
        operator=operator.to(scene.device).bind(scene.elements.keys),
        render=render,
        points_world=points.reshape(camera.height, camera.width, 3),
    )


def _render_arrays(render: ViewRender) -> dict[str, np.ndarray]:
    return {
        "rgb": (render.rgb.clamp(0, 1) * 255).round().byte().numpy(),
        "depth": render.depth.float().numpy(),
        "accumulation": render.accumulation.half().numpy(),
    }


def _scene_key(fingerprint: str, views: Sequence[View], config: PrepareConfig) -> str:
    """Return a hash of all that the view operators depend on."""
    digest = hashlib.sha256(f"{CACHE_VERSION} {fingerprint} {asdict(config)}".encode())
    for view in views:
        camera = view.camera
        digest.update(view.name.encode("utf-8", "surrogateescape"))
        digest.update(camera.c2w.float().cpu().numpy().tobytes())
        intrinsics = (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height)
        digest.update(repr((intrinsics, camera.distortion)).encode())
    return digest.hexdigest()
