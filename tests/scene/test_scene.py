from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sa3d.scene.scene
from sa3d.base.array_files import load_arrays, save_arrays
from sa3d.base.errors import SA3DError
from sa3d.fields.radiance_field import FieldRender
from sa3d.geometry.camera import Rays
from sa3d.scene.config import PrepareConfig
from sa3d.scene.scene import EncodingMemory, Scene
from sa3d.scene.views import View
from sa3d.testing.analytic_fields import AnalyticField
from sa3d.testing.analytic_scene import BALL, CRATE, analytic_scene

CONFIG = PrepareConfig(resolution=12, ray_side=12)


class CountingField(AnalyticField):
    """A field that counts the rays it renders."""

    rays = 0

    def render(self, rays: Rays, camera_index: int = -1) -> FieldRender:
        type(self).rays += len(rays)
        return super().render(rays, camera_index)

    @property
    def fingerprint(self) -> str:
        return AnalyticField(self.shapes).fingerprint


class Edges:
    """A segmenter that counts how often it encodes."""

    def __init__(self, name: str = "edges/1") -> None:
        self.name = name
        self.encoded = 0
        self.state = np.zeros(0)

    def set_image(self, image: np.ndarray) -> None:
        self.encoded += 1
        self.state = image[:2, :2].astype(np.float32)

    def save_state(self) -> dict[str, np.ndarray]:
        return {"state": self.state}

    def restore_state(self, state: dict[str, np.ndarray]) -> None:
        self.state = state["state"]


class BatchOfTwo(Edges):
    """A segmenter that encodes two images at once."""

    batch_size = 2

    def __init__(self) -> None:
        super().__init__("batch/1")
        self.batches: list[int] = []

    def encode_images(self, images: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
        self.batches.append(len(images))
        return [{"state": image[:2, :2].astype(np.float32)} for image in images]


@pytest.fixture
def views(tmp_path: Path) -> list[View]:
    shapes = {"ball": BALL, "crate": CRATE}
    small = analytic_scene(tmp_path, shapes, num_views=3, size=(12, 9), prepare=False)
    return small.scene.views


@pytest.fixture
def field() -> CountingField:
    CountingField.rays = 0
    return CountingField([BALL, CRATE])


def test_prepared_views(views: list[View], field: CountingField, tmp_path: Path) -> None:
    scene = Scene(field, views, tmp_path / "cache", CONFIG)
    assert not scene.is_prepared()
    with pytest.raises(RuntimeError, match="prepare"):
        scene.prepared(0)
    events = list(scene.prepare())
    assert [(e.index, e.total, e.view, e.cached) for e in events] == [
        (i, 3, view.name, False) for i, view in enumerate(views)
    ]
    assert scene.is_prepared()
    assert len(scene.elements) > 20
    assert (scene.elements.keys.diff() > 0).all()
    for index in range(3):
        prepared = scene.prepared(index)
        assert prepared.operator.num_rays == 12 * 9
        assert prepared.operator.num_elements == len(scene.elements)
        assert prepared.points_world.shape == (9, 12, 3)
        xy, _ = prepared.camera.project(prepared.points_world.reshape(-1, 3))
        y, x = torch.meshgrid(torch.arange(9), torch.arange(12), indexing="ij")
        centres = torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5
        torch.testing.assert_close(xy, centres, atol=1e-3, rtol=0)


def test_the_second_time_reads_the_cache(
    views: list[View], field: CountingField, tmp_path: Path
) -> None:
    first = Scene(field, views, tmp_path / "cache", CONFIG)
    list(first.prepare())
    CountingField.rays = 0
    second = Scene(field, views, tmp_path / "cache", CONFIG)
    assert all(event.cached for event in second.prepare())
    assert CountingField.rays == 0
    assert torch.equal(first.elements.keys, second.elements.keys)
    values = torch.rand(len(first.elements))
    for index in range(3):
        one, two = first.prepared(index), second.prepared(index)
        assert torch.equal(one.operator.render(values), two.operator.render(values))
        assert torch.equal(one.points_world, two.points_world)


def test_interrupted_preparation_resumes(
    views: list[View], field: CountingField, tmp_path: Path
) -> None:
    scene = Scene(field, views, tmp_path / "cache", CONFIG)
    events = scene.prepare()
    next(events)
    next(events)
    events.close()
    assert not scene.is_prepared()
    again = Scene(field, views, tmp_path / "cache", CONFIG)
    assert [event.cached for event in again.prepare()] == [True, True, False]
    assert CountingField.rays == 3 * 12 * 9


def test_damaged_view_is_evaluated_again(
    views: list[View], field: CountingField, tmp_path: Path
) -> None:
    scene = Scene(field, views, tmp_path / "cache", CONFIG)
    list(scene.prepare())
    path = sorted((scene.cache / "views").iterdir())[1]
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    again = Scene(field, views, tmp_path / "cache", CONFIG)
    assert [event.cached for event in again.prepare()] == [True, False, True]
    assert path.read_bytes() == whole


def spoil_weights(arrays: dict[str, np.ndarray]) -> None:
    arrays["weight"][0] = np.nan


def spoil_columns(arrays: dict[str, np.ndarray]) -> None:
    arrays["col"][0] = 2**31 - 1


def spoil_rows(arrays: dict[str, np.ndarray]) -> None:
    arrays["crow"][1] = -7


def spoil_depth(arrays: dict[str, np.ndarray]) -> None:
    arrays["depth"] = arrays["depth"][:-1]


def spoil_type(arrays: dict[str, np.ndarray]) -> None:
    arrays["rgb"] = arrays["rgb"].astype(np.float32)


def spoil_keys(arrays: dict[str, np.ndarray]) -> None:
    del arrays["keys"]


def as_older_versions_wrote(arrays: dict[str, np.ndarray]) -> None:
    del arrays["belongs_to"]


@pytest.mark.parametrize(
    "spoil",
    [
        *(spoil_weights, spoil_columns, spoil_rows, spoil_depth, spoil_type, spoil_keys),
        as_older_versions_wrote,
    ],
)
def test_a_damaged_view_is_made_again_and_says_so(
    views: list[View],
    field: CountingField,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[dict[str, np.ndarray]], None],
) -> None:
    scene = Scene(field, views, tmp_path / "cache", CONFIG)
    list(scene.prepare())
    path = sorted((scene.cache / "views").iterdir())[1]
    whole = load_arrays(path)
    with np.load(path) as stored:
        arrays = dict(stored)
    spoil(arrays)
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    again = Scene(field, views, tmp_path / "cache", CONFIG)
    assert [event.cached for event in again.prepare()] == [True, False, True]
    assert "1 of 3 were evaluated again" in caplog.text
    assert len(caplog.records) == 1
    for name, values in load_arrays(path).items():
        np.testing.assert_array_equal(values, whole[name])
    assert all(event.cached for event in Scene(field, views, tmp_path / "cache", CONFIG).prepare())


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_number_in_a_cached_view_is_used_safely_or_made_again(
    views: list[View], field: CountingField, tmp_path: Path, data: st.DataObject
) -> None:
    scene = Scene(field, views, tmp_path / "cache", CONFIG)
    list(scene.prepare())
    path = sorted((scene.cache / "views").iterdir())[0]
    with np.load(path) as stored:
        arrays = {name: values.copy() for name, values in stored.items()}
    values = arrays[data.draw(st.sampled_from(sorted(arrays)))]
    place = data.draw(st.integers(0, values.size - 1))
    kind = np.iinfo(values.dtype) if values.dtype.kind in "iu" else np.finfo(values.dtype)
    ends = [kind.min, kind.max, 0, 1] + ([np.nan, np.inf] if values.dtype.kind == "f" else [-1])
    values.flat[place] = np.array(data.draw(st.sampled_from(ends))).astype(values.dtype)
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    again = Scene(field, views, tmp_path / "cache", CONFIG)
    list(again.prepare())
    operator = again.prepared(0).operator
    rendered = operator.render(torch.ones(len(again.elements)))
    assert torch.isfinite(rendered).all()
    assert operator.splat(rendered).shape == (len(again.elements),)
    path.unlink()


def test_a_file_of_another_view_or_scene_is_made_again(
    views: list[View], field: CountingField, tmp_path: Path
) -> None:
    scene = Scene(field, views, tmp_path / "cache", CONFIG)
    list(scene.prepare())
    other = Scene(field, views, tmp_path / "cache", replace(CONFIG, min_weight=0.01))
    list(other.prepare())
    first, second, third = sorted((scene.cache / "views").iterdir())
    shutil.copy(first, second)
    shutil.copy(other.cache / "views" / third.name, third)
    again = Scene(field, views, tmp_path / "cache", CONFIG)
    assert [event.cached for event in again.prepare()] == [True, False, False]
    for index in range(3):
        mine, theirs = again.prepared(index), scene.prepared(index)
        assert torch.equal(mine.operator.weight, theirs.operator.weight)
        assert torch.equal(mine.render.depth, theirs.render.depth)


def test_a_folder_in_place_of_a_file_of_the_cache(
    views: list[View], field: CountingField, tmp_path: Path
) -> None:
    scene = Scene(field, views, tmp_path / "cache", CONFIG)
    (scene.cache / "views/00001.npz/mine").mkdir(parents=True)
    with pytest.raises(SA3DError, match=r"00001\.npz is a folder, but .* delete it"):
        list(scene.prepare())
    assert (scene.cache / "views/00001.npz/mine").exists()


def test_a_damaged_manifest_is_made_again(
    views: list[View], field: CountingField, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(field, views, tmp_path / "cache", CONFIG)
    list(scene.prepare())
    whole = (scene.cache / "scene.json").read_text()
    (scene.cache / "scene.json").write_text("[" * 100_000)
    again = Scene(field, views, tmp_path / "cache", CONFIG)
    assert all(event.cached for event in again.prepare())
    assert "was damaged and is made again" in caplog.text
    assert (scene.cache / "scene.json").read_text() == whole


def test_a_field_that_renders_an_infinite_depth_is_refused(
    views: list[View], field: CountingField, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = CountingField.render

    def infinite(self: CountingField, rays: Rays, camera_index: int = -1) -> FieldRender:
        found = render(self, rays, camera_index)
        return replace(found, depth=found.depth + torch.inf)

    monkeypatch.setattr(CountingField, "render", infinite)
    with pytest.raises(SA3DError, match="renders NaN"):
        list(Scene(field, views, tmp_path / "cache", CONFIG).prepare())


def test_other_fields_views_and_settings_have_other_caches(
    views: list[View], field: CountingField, tmp_path: Path
) -> None:
    camera = views[0].camera
    moved = replace(camera, c2w=camera.c2w + 0.01)
    scenes = [
        Scene(field, views, tmp_path, CONFIG),
        Scene(AnalyticField([BALL]), views, tmp_path, CONFIG),
        Scene(field, views[:2], tmp_path, CONFIG),
        Scene(field, [replace(views[0], camera=moved), *views[1:]], tmp_path, CONFIG),
        Scene(field, [replace(views[0], name="x.png"), *views[1:]], tmp_path, CONFIG),
        Scene(field, views, tmp_path, replace(CONFIG, resolution=13)),
        Scene(field, views, tmp_path, replace(CONFIG, ray_side=11)),
        Scene(field, views, tmp_path, replace(CONFIG, min_weight=0.1)),
    ]
    assert len({scene.cache for scene in scenes}) == len(scenes)
    assert Scene(field, views, tmp_path, CONFIG).cache == scenes[0].cache


def test_a_cache_with_another_manifest_is_refused(
    views: list[View], field: CountingField, tmp_path: Path
) -> None:
    scene = Scene(field, views, tmp_path / "cache", CONFIG)
    scene.cache.mkdir(parents=True)
    (scene.cache / "scene.json").write_text("{}")
    with pytest.raises(SA3DError, match="made from something else"):
        next(scene.prepare())


def test_no_views(field: CountingField, tmp_path: Path) -> None:
    with pytest.raises(SA3DError, match="no views"):
        Scene(field, [], tmp_path)


def test_a_full_disk_keeps_finished_views(
    views: list[View], field: CountingField, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(field, views, tmp_path / "cache", CONFIG)
    save = sa3d.scene.scene.save_arrays

    def full(path: Path, arrays: dict[str, np.ndarray], **options: Any) -> None:
        if path.name.startswith("00001"):
            raise SA3DError("the disk is full")
        save(path, arrays, **options)

    monkeypatch.setattr(sa3d.scene.scene, "save_arrays", full)
    with pytest.raises(SA3DError, match="disk is full"):
        list(scene.prepare())
    monkeypatch.undo()
    again = Scene(field, views, tmp_path / "cache", CONFIG)
    assert [event.cached for event in again.prepare()] == [True, False, False]


def test_encodings_are_cached(views: list[View], field: CountingField, tmp_path: Path) -> None:
    scene = Scene(field, views, tmp_path / "cache", CONFIG)
    segmenter = Edges()
    scene.encode(0, segmenter)  # type: ignore[arg-type]
    state = segmenter.state
    scene.encode(1, segmenter)  # type: ignore[arg-type]
    scene.encode(0, segmenter)  # type: ignore[arg-type]
    assert segmenter.encoded == 2
    np.testing.assert_array_equal(segmenter.state, state)
    other = Edges("edges/2")
    scene.encode(0, other)  # type: ignore[arg-type]
    assert other.encoded == 1
    for path in (scene.cache / "encodings").rglob("00000-*.npz"):
        path.write_bytes(b"half")
    scene.encode(0, segmenter)  # type: ignore[arg-type]
    assert segmenter.encoded == 3


def test_an_encoding_of_another_photo_or_without_an_array_is_made_again(
    views: list[View], field: CountingField, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(field, views, tmp_path / "cache", CONFIG)
    segmenter: Any = Edges()
    for index in range(3):
        scene.encode(index, segmenter)
    first, second, third = sorted((scene.cache / "encodings").rglob("*.npz"))
    expected = load_arrays(second)["state"]
    shutil.copy(first, second)
    identity = f"encoding {third.parent.name} {third.stem}"
    save_arrays(third, {"other": expected}, belongs_to=identity)
    again, segmenter = Scene(field, views, tmp_path / "cache", CONFIG), Edges()
    again.encode(1, segmenter)
    np.testing.assert_array_equal(segmenter.state, expected)
    again.encode(2, segmenter)
    assert segmenter.encoded == 2
    again.encode(0, segmenter)
    assert segmenter.encoded == 2
    assert caplog.text.count("it was encoded again") == 2


def test_encoding_in_batches(views: list[View], field: CountingField, tmp_path: Path) -> None:
    scene = Scene(field, views, tmp_path / "cache", CONFIG)
    one_by_one, segmenter = Edges(), BatchOfTwo()
    for index in (2, 0, 1, 2):  # 2 and 0 together, then 1 alone
        scene.encode(index, segmenter)  # type: ignore[arg-type]
        scene.encode(index, one_by_one)  # type: ignore[arg-type]
        np.testing.assert_array_equal(segmenter.state, one_by_one.state)
    assert segmenter.batches == [2, 1]
    assert segmenter.encoded == 0


def test_view_index(views: list[View], field: CountingField, tmp_path: Path) -> None:
    scene = Scene(field, views, tmp_path, CONFIG)
    assert scene.view_index(views[2].name) == 2
    with pytest.raises(SA3DError, match="no view is called"):
        scene.view_index("nothing.jpg")


def test_a_scene_without_some_views_has_its_own_cache(still_life):
    """Views have new indices there, so the same name would mean another photo."""
    scene = still_life.scene
    rest = scene.without_views([0, 3])
    assert rest.cache != scene.cache
    assert rest.cache == scene.without_views([3, 0]).cache
    assert rest.cache != scene.without_views([1, 3]).cache
    assert rest.views[0].name == scene.views[1].name


def state_of(size: int) -> dict[str, np.ndarray]:
    return {"a": np.zeros(size // 2, np.uint8), "b": np.zeros(size - size // 2, np.uint8)}


def test_the_first_encodings_stay_in_a_full_memory() -> None:
    memory, first = EncodingMemory(max_bytes=25), state_of(10)
    memory.add(3, "one", first)
    memory.add(1, "one", state_of(11))
    memory.add(2, "one", state_of(10))
    memory.add(4, "one", state_of(4))
    assert memory.get(3, "one") is first
    assert [index for index in range(5) if memory.get(index, "one") is not None] == [1, 3, 4]


def test_the_memory_holds_one_segmenter() -> None:
    memory = EncodingMemory(max_bytes=10)
    memory.add(0, "one", state_of(10))
    assert memory.get(0, "two") is None
    memory.add(0, "two", state_of(10))
    assert memory.get(0, "two") is not None
    assert memory.get(0, "one") is None
