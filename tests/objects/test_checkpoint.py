from __future__ import annotations

import copy
import json
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import sa3d.objects.checkpoint
from sa3d.base.array_files import load_arrays, save_arrays
from sa3d.base.errors import SA3DError
from sa3d.objects.checkpoint import load_segmentation, save_segmentation
from sa3d.objects.colors import COLORS
from sa3d.objects.folder import read_summary
from sa3d.objects.names import check_object_name
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import Segmentation, ViewRecord
from sa3d.scene.elements import Elements, MaskGrid
from sa3d.testing.analytic_scene import AnalyticScene

PROVENANCE = {"load_config": "runs/x/config.yml", "segmenter": "exact", "config": {"lam": 1.0}}


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_same(a: Segmentation, b: Segmentation) -> None:
    assert (a.scene_key, a.prior, a.prior_weight, a.lam) == (
        b.scene_key,
        b.prior,
        b.prior_weight,
        b.lam,
    )
    assert a.elements.grid == b.elements.grid
    assert torch.equal(a.elements.keys, b.elements.keys)
    assert list(a.objects) == list(b.objects)
    for name in a.objects:
        one, two = a.object(name), b.object(name)
        assert list(one.prompts) == list(two.prompts)
        assert list(one.rounds) == list(two.rounds)
        assert (one.converged, one.verdict) == (two.converged, two.verdict)
        assert a.colors[name] == b.colors[name]
        assert torch.equal(one.evidence.object, two.evidence.object)
        assert torch.equal(one.evidence.total, two.evidence.total)
        assert list(one.views) == list(two.views)
        for index, record in one.views.items():
            other = two.views[index]
            plain = {"mask": None, "corrected": None}
            assert replace(record, **plain) == replace(other, **plain)
            for one_bitmap, two_bitmap in (
                (record.mask, other.mask),
                (record.corrected, other.corrected),
            ):
                np.testing.assert_array_equal(one_bitmap, two_bitmap)


def test_round_trip_is_exact(voted: Segmentation, tmp_path: Path) -> None:
    views = dict(voted.object("ball").views)
    views[3] = ViewRecord("no prompt", 0.1 + 0.2, 1 / 3, 0.0, None)
    views[4] = replace(views[4], corrected=~views[4].mask)
    ball = replace(voted.object("ball"), views=views, converged=False)
    voted = replace(voted, objects={**voted.objects, "ball": ball}, lam=1.3)
    voted = voted.recolored("crate", (1, 2, 3))

    save_segmentation(voted, tmp_path / "out", PROVENANCE)
    loaded = load_segmentation(tmp_path / "out")

    assert_same(voted, loaded.segmentation)
    assert loaded.provenance == PROVENANCE
    assert torch.equal(voted.labels(), loaded.segmentation.labels())


def test_a_folder_without_colors_has_those_of_the_palette(
    voted: Segmentation, tmp_path: Path
) -> None:
    save_segmentation(voted.recolored("ball", (1, 2, 3)), tmp_path / "s")
    manifest = tmp_path / "s/segmentation.json"
    content = json.loads(manifest.read_text())
    for one in content["objects"]:
        del one["color"]
    manifest.write_text(json.dumps(content))
    found = load_segmentation(tmp_path / "s").segmentation
    assert [one.color for one in found.objects.values()] == list(COLORS[:2])


def test_a_folder_with_keys_that_were_removed_loads(voted: Segmentation, tmp_path: Path) -> None:
    save_segmentation(voted, tmp_path / "s")
    manifest = tmp_path / "s/segmentation.json"
    content = json.loads(manifest.read_text())
    for one in content["objects"]:
        one["cycle"] = 2
        for view in one["views"]:
            view["fold_agreement"] = 0.9
    manifest.write_text(json.dumps(content))
    assert_same(voted, load_segmentation(tmp_path / "s").segmentation)


def test_prompts_of_every_kind_come_back(voted: Segmentation, tmp_path: Path) -> None:
    mask = np.zeros((36, 48), dtype=bool)
    mask[3:9, 5:20] = True
    Image.fromarray(mask).save(tmp_path / "mask.png")
    prompts = [
        Prompt("a.png", "ball", points=((1.5, 2.0), (3.0, 4.0)), labels=(1, 0)),
        Prompt("b.png", "ball", box=(0.0, 1.0, 5.0, 6.0), text="a red ball"),
        Prompt("c.png", "ball", mask=mask),
        Prompt("d.png", "ball", mask=tmp_path / "mask.png"),
    ]
    ball = replace(voted.object("ball"), prompts=prompts)
    save_segmentation(replace(voted, objects={"ball": ball}), tmp_path / "out")
    (tmp_path / "mask.png").unlink()

    loaded = load_segmentation(tmp_path / "out").segmentation.object("ball").prompts

    assert list(loaded) == [*prompts[:3], replace(prompts[3], mask=loaded[3].mask)]
    for prompt in loaded[2:]:
        np.testing.assert_array_equal(prompt.load_mask(48, 36), mask)


def test_existing_folder_is_replaced_only_when_told(voted: Segmentation, tmp_path: Path) -> None:
    save_segmentation(voted, tmp_path / "out", {"run": 1})
    with pytest.raises(SA3DError, match="overwrite"):
        save_segmentation(voted, tmp_path / "out", {"run": 2})
    assert load_segmentation(tmp_path / "out").provenance == {"run": 1}

    save_segmentation(voted, tmp_path / "out", {"run": 2}, overwrite=True)
    assert load_segmentation(tmp_path / "out").provenance == {"run": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_folder_with_other_files_is_never_replaced(voted: Segmentation, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(SA3DError, match=r"thesis\.tex"):
        save_segmentation(voted, tmp_path / "home", overwrite=True)
    assert (tmp_path / "home" / "thesis.tex").exists()


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failed_write_keeps_the_old_folder(
    voted: Segmentation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
) -> None:
    save_segmentation(voted, tmp_path / "out", {"run": 1})
    before = files_of(tmp_path)

    def fail(path: Path, mask: np.ndarray) -> None:
        raise failure

    monkeypatch.setattr(sa3d.objects.checkpoint, "write_bitmap", fail)
    expected = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else SA3DError
    with pytest.raises(expected):
        save_segmentation(voted, tmp_path / "out", {"run": 2}, overwrite=True)
    with pytest.raises(expected):
        save_segmentation(voted, tmp_path / "elsewhere")
    assert files_of(tmp_path) == before


def test_provenance_that_json_cannot_hold_is_refused(voted: Segmentation, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="object"):
        save_segmentation(voted, tmp_path / "out", {"model": object()})
    assert not (tmp_path / "out").exists()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_version(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))


def without_objects(path: Path) -> None:
    content = json.loads(path.read_text())
    del content["objects"]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("segmentation.json", Path.unlink, "no segmentation in"),
        ("segmentation.json", truncate, "damaged"),
        ("segmentation.json", other_version, "format 99"),
        ("segmentation.json", without_objects, "damaged"),
        ("elements.npz", Path.unlink, "damaged"),
        ("elements.npz", truncate, "damaged"),
        ("masks/ball/00002.png", Path.unlink, "damaged"),
        ("masks/ball/00002.png", truncate, "damaged"),
    ],
)
def test_damage_is_one_clear_error(
    voted: Segmentation, tmp_path: Path, file: str, damage, message: str
) -> None:
    save_segmentation(voted, tmp_path / "out")
    damage(tmp_path / "out" / file)
    with pytest.raises(SA3DError, match=message):
        load_segmentation(tmp_path / "out")


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(SA3DError, match="no segmentation in"):
        load_segmentation(tmp_path / "nowhere")


def test_nothing_is_not_saved(voted: Segmentation, tmp_path: Path) -> None:
    with pytest.raises(SA3DError, match="nothing to save; mark one first"):
        save_segmentation(replace(voted, objects={}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_colors_by_place_come_back_as_they_were_shown(voted: Segmentation, tmp_path: Path) -> None:
    painted = voted.recolored("ball", COLORS[1])  # that of the crate's place
    save_segmentation(painted, tmp_path / "out")
    assert load_segmentation(tmp_path / "out").segmentation.colors == painted.colors


# What comes in from a file.


@pytest.fixture(scope="module")
def saved(voted: Segmentation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmentation with prompts of all kinds. Do not change it."""
    mask = np.zeros((36, 48), dtype=bool)
    mask[3:9, 5:20] = True
    prompts = [
        Prompt("a.png", "ball", points=((1.5, 2.0), (3.0, 4.0)), labels=(1, 0), candidate=1),
        Prompt("b.png", "ball", box=(0.0, 1.0, 5.0, 6.0), text="a red ball"),
        Prompt("c.png", "ball", mask=mask),
    ]
    ball = voted.object("ball")
    views = {i: replace(r, corrected=r.mask) if i == 4 else r for i, r in ball.views.items()}
    ball = replace(ball, prompts=prompts, views=views)
    folder = tmp_path_factory.mktemp("saved") / "s"
    save_segmentation(replace(voted, objects={**voted.objects, "ball": ball}), folder, PROVENANCE)
    return folder


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values in JSON; of a long list, those of its first entries."""
    yield path
    if isinstance(content, dict):
        for key, value in content.items():
            yield from places(value, (*path, key))
    elif isinstance(content, list):
        for i, value in enumerate(content[:2]):
            yield from places(value, (*path, i))


def edited(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The content with one value replaced, or removed if it is ``REMOVED``."""
    if not path:
        return None if value is REMOVED else value
    content = copy.copy(content)
    if len(path) == 1 and value is REMOVED:
        del content[path[0]]
    else:
        content[path[0]] = edited(content[path[0]], path[1:], value)
    return content


REMOVED = object()
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, -1, 10**9, 10**17, 0.5, -0.5, 1e308, "", "256", "x", "../../ESC"])
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def loads_or_refuses(folder: Path) -> None:
    """Load a folder: a sound segmentation, or an ``SA3DError`` of one line."""
    try:
        found = load_segmentation(folder).segmentation
    except SA3DError:
        return
    read_summary(folder)
    assert found.objects
    for name, one in found.objects.items():
        check_object_name(name)
        assert one.name == name
        assert float(one.evidence.total.min()) >= 0
        assert torch.isfinite(found.probability(name)).all()
        assert all(-1 <= record.confidence < float("inf") for record in one.views.values())
    found.labels()
    found.elements.find(found.elements.keys)


def copied(saved: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(saved, folder)
    return folder


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_edited_value_is_a_segmentation_or_one_clear_error(
    saved: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "copy"
    if not folder.exists():
        copied(saved, tmp_path)
    content = json.loads((saved / "segmentation.json").read_text())
    path = data.draw(st.sampled_from(list(places(content))))
    value = data.draw(st.just(REMOVED) | json_values)
    (folder / "segmentation.json").write_text(json.dumps(edited(content, path, value)))
    loads_or_refuses(folder)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("objects",), [], "objects must have a length of at least 1"),
        (("objects", 0, "name"), "../../../ESC", "invalid object name .*segmentation.json"),
        (("objects", 0, "name"), "a\nb", "invalid object name"),
        (("objects", 0, "name"), "crate", "the object 'crate' is there twice"),
        (("objects", 0, "color"), [1, 2, 300], r"color\[2\] must be between 0 and 255, is 300"),
        (("objects", 0, "views", 0, "index"), -1, "index must be between 0 and 99999"),
        (("objects", 0, "views", 0, "index"), 1, "the record of view 1 is there twice"),
        (("objects", 0, "views", 0, "outcome"), "liked", "outcome must be one of prompted, acc"),
        (("objects", 0, "views", 0, "score"), True, "score must be a number, is True"),
        (("objects", 0, "prompts", 0, "candidate"), True, "'candidate' must be 0, 1 or 2"),
        (("objects", 0, "prompts", 0, "points"), [["1", 2]], "'points' must be"),
        (("objects", 0, "rounds", 0, "flips"), "3", "flips must be a whole number, is '3'"),
        (("objects", 0, "rounds", 0), 5, r"rounds\[0\] must be an object"),
        (("objects", 0, "held_out"), [10**9], r"held_out\[0\] must be between"),
        (("grid", "resolution"), "256", "grid.resolution must be a whole number, is '256'"),
        (("grid", "resolution"), 10**9, "grid.resolution must be between 1 and 2048"),
        (("grid", "resolution"), 2, "are not those of voxels, in order"),
        (("grid", "bounds", "aabb", 0, 1), 9.0, "the box of its grid is empty"),
        (("grid", "bounds", "kind"), "sphere", "grid.bounds.kind must be one of box"),
        (("settings", "prior"), "x", "settings.prior must be a number, is 'x'"),
        (("settings", "lam"), 0, "settings.lam must be above 0"),
        (("provenance",), [], "provenance must be an object"),
        (("version",), [2], r"format \[2\]"),
    ],
)
def test_wrong_values_are_named(
    saved: Path, tmp_path: Path, path: tuple[Any, ...], value: Any, message: str
) -> None:
    folder = copied(saved, tmp_path)
    content = json.loads((saved / "segmentation.json").read_text())
    (folder / "segmentation.json").write_text(json.dumps(edited(content, path, value)))
    for read in (load_segmentation, read_summary):
        if "prompts" in path and read is read_summary:
            continue  # it only counts them
        with pytest.raises(SA3DError, match=message):
            read(folder)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("keys", lambda a: a[::-1], "not those of voxels"),
        ("keys", lambda a: np.concatenate([a[:1], a[:-1]]), "not those of voxels"),
        ("keys", lambda a: a - a[0] - 1, "not those of voxels"),
        ("keys", lambda a: a + 10**12, "not those of voxels"),
        ("keys", lambda a: a.astype(np.int32), "'keys' in it is int32"),
        ("keys", lambda a: a.astype(">i8"), "not of numbers"),
        ("keys", lambda a: a[:-1], "'object_0' in it is float32"),
        ("object_1", lambda a: a * np.nan, "not finite"),
        ("object_1", lambda a: a - 1, "below 0 or above the total"),
        ("object_1", lambda a: a * 2 + 1, "below 0 or above the total"),
        ("total_0", lambda a: a.astype(np.float64), "'total_0' in it is float64"),
        ("total_0", lambda a: a[:, None], "'total_0' in it is float32"),
        ("total_0", lambda a: None, "lacks the array 'total_0'"),
        ("prompt_0_2", lambda a: a[None], "'prompt_0_2' in it is bool"),
        ("prompt_0_2", lambda a: a * np.nan, "not finite"),
    ],
)
def test_wrong_arrays_are_named(
    saved: Path, tmp_path: Path, name: str, change: Callable[[Any], Any], message: str
) -> None:
    folder = copied(saved, tmp_path)
    arrays = load_arrays(folder / "elements.npz")
    arrays[name] = change(arrays[name])
    save_arrays(folder / "elements.npz", {k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(SA3DError, match=r"elements\.npz is not the file that was saved"):
        load_segmentation(folder)
    content = json.loads((folder / "segmentation.json").read_text())
    del content["files"]  # as in folders of older versions
    (folder / "segmentation.json").write_text(json.dumps(content))
    for read in (load_segmentation, read_summary):
        with pytest.raises(SA3DError, match=message):
            read(folder)


changes_of_arrays = st.sampled_from(
    [
        lambda a: a[: len(a) // 2],
        lambda a: a.ravel()[:0],
        lambda a: a[::-1],
        lambda a: a[None],
        lambda a: -a.astype(float),
        lambda a: a.astype(np.int32),
        lambda a: a.astype(">f8"),
        lambda a: a.astype(bool),
        lambda a: a.astype(np.float64) * np.nan,
        lambda a: (a * 0 + 1).astype(a.dtype),
        lambda a: np.full(a.shape, 2**62 if a.dtype.kind == "i" else 1, a.dtype),
        lambda a: np.full((3, 3), "text"),
        lambda a: np.zeros((0, 5)),
        lambda a: np.float32(3),
        lambda a: None,
    ]
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_changed_array_is_a_segmentation_or_one_clear_error(
    saved: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "copy"
    if not folder.exists():
        copied(saved, tmp_path)
        content = json.loads((folder / "segmentation.json").read_text())
        del content["files"]  # else nothing but their hashes would be compared
        (folder / "segmentation.json").write_text(json.dumps(content))
    arrays: dict[str, Any] = load_arrays(saved / "elements.npz")
    name = data.draw(st.sampled_from([*arrays, "new"]))
    arrays[name] = data.draw(changes_of_arrays)(arrays.get(name, arrays["keys"]))
    save_arrays(folder / "elements.npz", {k: v for k, v in arrays.items() if v is not None})
    loads_or_refuses(folder)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_random_bytes_in_any_file_are_a_segmentation_or_one_clear_error(
    saved: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = copied(saved, tmp_path)
    names = ["segmentation.json", "elements.npz", "masks/ball/00002.png"]
    path = folder / data.draw(st.sampled_from(names))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + 1] = data.draw(st.binary(max_size=3))
    path.write_bytes(content)
    loads_or_refuses(folder)


def test_a_bomb_is_refused_before_it_is_decompressed(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path)
    content = json.loads((folder / "segmentation.json").read_text())
    del content["files"]
    (folder / "segmentation.json").write_text(json.dumps(content))
    arrays = load_arrays(folder / "elements.npz")
    arrays["total_0"] = np.zeros(50_000_000, np.float32)
    save_arrays(folder / "elements.npz", arrays, compress=True)
    assert (folder / "elements.npz").stat().st_size < 1_000_000
    tracemalloc.start()
    with pytest.raises(SA3DError, match="'total_0' in it is"):
        load_segmentation(folder)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20_000_000


def test_a_file_of_another_place_is_refused(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path)
    masks = folder / "masks/ball"
    shutil.copy(masks / "00002.png", masks / "00003.png")
    with pytest.raises(SA3DError, match=r"masks/ball/00003\.png is not the file that was saved"):
        load_segmentation(folder)


def test_folders_without_hashes_load(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path)
    content = json.loads((folder / "segmentation.json").read_text())
    del content["files"]
    (folder / "segmentation.json").write_text(json.dumps(content))
    assert_same(load_segmentation(saved).segmentation, load_segmentation(folder).segmentation)


def test_a_mask_with_transparency_is_saved_as_it_was_decided(
    voted: Segmentation, tmp_path: Path
) -> None:
    pixels = np.full((36, 48, 4), 255, dtype=np.uint8)
    pixels[..., 3] = 0
    pixels[3:13, 5:15, 3] = 255
    pixels[3:13, 5:10, :3] = 0  # black, and opaque
    Image.fromarray(pixels).save(tmp_path / "cut.png")
    prompt = Prompt("a.png", "ball", mask=tmp_path / "cut.png")
    ball = replace(voted.object("ball"), prompts=[prompt])
    save_segmentation(replace(voted, objects={"ball": ball}), tmp_path / "out")
    (again,) = load_segmentation(tmp_path / "out").segmentation.object("ball").prompts
    np.testing.assert_array_equal(again.load_mask(48, 36), prompt.load_mask(48, 36))
    assert again.load_mask(48, 36).sum() == 100


def test_a_segmentation_belongs_to_its_scene(
    voted: Segmentation, still_life: AnalyticScene
) -> None:
    scene, ball = still_life.scene, voted.object("ball")
    voted.check_fits(scene)

    def changed(**changes: Any) -> Segmentation:
        return replace(voted, objects={"ball": replace(ball, **changes)})

    coarse = Elements(MaskGrid(scene.grid.bounds, 9), voted.elements.keys)
    small = replace(ball.views[2], mask=ball.views[2].mask[:-1])
    for wrong, message in (
        (replace(voted, scene_key="other"), "another scene"),
        (replace(voted, elements=coarse), "another grid"),
        (changed(views={12: ball.views[2]}), "no view with index 12"),
        (changed(held_out=frozenset([99])), "no view with index 99"),
        (changed(views={2: small}), "a mask of another size than view"),
        (changed(views={2: replace(ball.views[2], corrected=small.mask)}), "another size"),
        (changed(prompts=[Prompt("nowhere.png", "ball", points=((1, 2),))]), "no view is called"),
        (changed(prompts=[replace(ball.prompts[0], points=((999, 2),), labels=(1,))]), "outside"),
    ):
        with pytest.raises(SA3DError, match=message):
            wrong.check_fits(scene)
