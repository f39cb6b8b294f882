from __future__ import annotations

import json
import math
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.PngImagePlugin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sa3d.base.errors import SA3DError
from sa3d.objects.prompts import (
    Prompt,
    check_marks_object,
    load_prompts,
    prompt_from_json,
    prompts_in_views,
)
from sa3d.testing.analytic_scene import AnalyticScene


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "is empty"),
        ({"text": ""}, "is empty"),
        ({"points": ((1, 2),), "labels": (1, 0)}, "1 points but 2 labels"),
        ({"points": ((1, 2),), "labels": (2,)}, "labels must be"),
        ({"points": ((1, 2), (1, 2)), "labels": (1, 0)}, "both object and background"),
        ({"text": "x", "object": "a/b"}, "invalid object name"),
        ({"text": "x", "object": "a\\b"}, "invalid object name"),
        ({"text": "x", "object": ".."}, "invalid object name"),
        ({"text": "x", "object": "  "}, "invalid object name"),
        ({"text": "x", "object": 5}, "invalid object name 5"),
        ({"points": ((1, 2),), "labels": (0.7,)}, "labels must be"),
        ({"box": (5.0, 1.0, 2.0, 3.0)}, r"box \(5, 1, 2, 3\) is empty"),
        ({"box": (1.0, 3.0, 2.0, 3.0)}, "is empty"),
        ({"box": (1.0, 1.0, float("nan"), 3.0)}, "'box' must be .*finite"),
    ],
)
def test_invalid_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SA3DError, match=message):
        Prompt("a.png", **values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"points": ((10.0, 0.0),), "labels": (1,)}, r"point \(10, 0\) lies outside the image"),
        ({"points": ((-1.0, 0.0),), "labels": (1,)}, "outside the image"),
        ({"box": (1.0, 1.0, 11.0, 3.0)}, "outside the image"),
        ({"box": (1.0, 1.0, 4.0, 4.0), "points": ((6.0, 6.0),), "labels": (1,)}, "outside the box"),
    ],
)
def test_outside_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SA3DError, match=message):
        Prompt("a.png", **values).check_against(10, 8)


def test_inside_is_fine() -> None:
    Prompt("a.png", points=((9.0, 7.0), (0.0, 0.0)), labels=(1, 0)).check_against(10, 8)
    Prompt("a.png", box=(0.0, 0.0, 9.0, 7.0)).check_against(10, 8)
    # A background point may lie outside the box.
    box = (1.0, 1.0, 4.0, 4.0)
    Prompt("a.png", box=box, points=((6.0, 6.0),), labels=(0,)).check_against(10, 8)


def test_points_without_labels_are_on_the_object() -> None:
    prompt = Prompt("a.png", points=((1.0, 2.0), (3.0, 4.0)))
    assert prompt.labels == (1, 1)
    assert prompt == Prompt("a.png", points=((1.0, 2.0), (3.0, 4.0)), labels=(1, 1))


def test_equal_prompts_have_equal_masks() -> None:
    mask = np.eye(4, dtype=bool)
    prompt = Prompt("a.png", mask=mask)
    assert prompt == Prompt("a.png", mask=mask.copy())
    assert hash(prompt) == hash(Prompt("a.png", mask=mask.copy()))
    for other in (~mask, mask[:2], Path("mask.png"), None):
        assert prompt != Prompt("a.png", points=((1.0, 1.0),), mask=other)
        assert prompt != replace(prompt, mask=other, box=(0.0, 0.0, 3.0, 3.0))
    assert prompt != Prompt("a.png", mask=~mask)
    assert Prompt("a.png", mask=Path("m.png")) == Prompt("a.png", mask=Path("m.png"))
    assert Prompt("a.png", mask=Path("m.png")) != Prompt("a.png", mask=Path("n.png"))
    assert prompt != "a.png"


coordinates = st.tuples(st.floats(0, 500), st.floats(0, 500))


@given(points=st.lists(coordinates, min_size=1, max_size=5, unique=True), text=st.text())
def test_json_round_trip(points: list[tuple[float, float]], text: str) -> None:
    labels = (1,) + (0,) * (len(points) - 1)
    box = (0.0, 0.0, 500.0, 500.0)
    prompt = Prompt("v.png", "cup", tuple(points), labels, box, text=text or None)
    entry = json.loads(json.dumps(prompt.to_json()))
    assert prompt_from_json(entry, Path()) == prompt


def test_masks(tmp_path: Path) -> None:
    mask = np.zeros((4, 6), dtype=bool)
    mask[1:3, 2:5] = True
    for name, pixels in {
        "grey.png": mask.astype(np.uint8) * 255,
        "low.png": mask.astype(np.uint8),
        "rgb.png": np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 200,
        "bit.png": mask,
    }.items():
        Image.fromarray(pixels).save(tmp_path / name)
        prompt = prompt_from_json({"view": "a.png", "mask": name}, tmp_path)
        np.testing.assert_array_equal(prompt.load_mask(6, 4), mask, err_msg=name)
    np.testing.assert_array_equal(Prompt("a.png", mask=mask).load_mask(6, 4), mask)
    assert Prompt("a.png", text="cup").load_mask(6, 4) is None


def test_masks_with_transparency(tmp_path: Path) -> None:
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    drawn, opacity = grey > 3, np.where(grey % 5 > 2, 200, 90).astype(np.uint8)
    images = {}
    for name, alpha in (("opaque", np.full_like(opacity, 255)), ("cut", opacity)):
        image = Image.fromarray(np.where(drawn, 250, 0).astype(np.uint8))
        image.putalpha(Image.fromarray(alpha))
        images[f"{name}_la.png"], images[f"{name}_rgba.png"] = image, image.convert("RGBA")
    for name, image in images.items():
        image.save(tmp_path / name)
        found = Prompt("a.png", mask=tmp_path / name).load_mask(6, 4)
        exact = drawn if name.startswith("opaque") else opacity > 127
        np.testing.assert_array_equal(found, exact, err_msg=name)
    palette = Image.fromarray(np.where(drawn, 1, 0).astype(np.uint8)).convert("P")
    palette.save(tmp_path / "palette.png", transparency=1)
    found = Prompt("a.png", mask=tmp_path / "palette.png").load_mask(6, 4)
    np.testing.assert_array_equal(found, ~drawn)


@pytest.mark.parametrize(("point", "label"), [((1.0, 2.9), 1), ((2.0, 1.0), 0)])
def test_points_may_not_contradict_their_own_mask(
    still_life: AnalyticScene, point: tuple[float, float], label: int
) -> None:
    views = still_life.scene.views
    mask = np.zeros((views[0].camera.height, views[0].camera.width), dtype=bool)
    mask[1:3, 2:5] = True
    drawn = Prompt(views[0].name, mask=mask)
    agreeing = replace(drawn, points=(point,), labels=(1 - label,))
    assert prompts_in_views([agreeing], views) == [agreeing]
    message = r"point \(\d, [\d.]+\) is both (object|background) and, in the mask, "
    with pytest.raises(SA3DError, match=message):
        prompts_in_views([replace(agreeing, labels=(label,))], views)
    prompts_in_views([drawn, Prompt(views[0].name, points=(point,), labels=(label,))], views)


NO_NUMBERS = [True, "9", {}, [], None, float("nan"), float("inf"), 10**400, 1j, np.array([1, 2])]


@pytest.mark.parametrize("wrong", NO_NUMBERS, ids=repr)
def test_what_is_no_number_is_no_coordinate_label_or_candidate(wrong: Any) -> None:
    cases: list[dict[str, Any]] = [
        {"points": ((1, wrong),)},
        {"points": ((1, 2),), "labels": (wrong,)},
        {"box": (1, 2, wrong, 4)},
        {"points": ((1, 2),), "candidate": wrong if wrong is not None else "1"},
        {"points": wrong if wrong is not None else 1},
        {"mask": np.array([[wrong]], dtype=object)},
    ]
    for values in cases:
        with pytest.raises(SA3DError):
            Prompt("a.png", **values)
        with pytest.raises(SA3DError):
            Prompt.from_keywords("a.png", **values)


@pytest.mark.parametrize("values", [{"view": 5}, {"view": None}, {"text": 5}, {"mask": 5}])
def test_values_of_another_type_are_refused(values: dict[str, Any]) -> None:
    given: dict[str, Any] = {"view": "a.png", "box": (1, 2, 3, 4), **values}
    with pytest.raises(SA3DError):
        Prompt(**given)
    given["view"] = given["view"] or 5  # words alone need no view
    with pytest.raises(SA3DError):
        Prompt.from_keywords(**given)


def test_numpy_values_become_plain_ones() -> None:
    values: dict[str, Any] = {"points": np.array([[1, 2]], np.int16), "labels": np.array([1.0])}
    values |= {"box": [np.float32(0), np.int8(1), 3, 4.5], "candidate": np.int64(2)}
    prompt = Prompt("a.png", **values)
    entry = {"view": "a.png", "object": "object", "points": [[1, 2]], "labels": [1]}
    assert json.loads(json.dumps(prompt.to_json())) == entry | {
        "box": [0, 1, 3, 4.5],
        "candidate": 2,
    }


def test_a_long_value_is_shortened_in_messages() -> None:
    with pytest.raises(SA3DError) as error:
        Prompt.from_keywords("a.png", points=[(i, math.nan) for i in range(1000)])
    assert len(str(error.value)) < 300


def test_a_mask_of_900_megapixels_is_not_decoded(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    (tmp_path / "m.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    with pytest.raises(SA3DError, match="has more than 178 megapixels"):
        Prompt("a.png", mask=tmp_path / "m.png").load_mask(30_000, 30_000)


def test_a_mask_of_another_size_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.ones((4, 6), dtype=bool)).save(tmp_path / "m.png")
    monkeypatch.setattr(PIL.PngImagePlugin.PngImageFile, "load", None)
    with pytest.raises(SA3DError, match=r"6 x 4 px, but view 'a.png' is 5 x 4"):
        Prompt("a.png", mask=tmp_path / "m.png").load_mask(5, 4)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
fields_of_prompts = st.sampled_from(
    ["view", "object", "points", "labels", "box", "mask", "text", "candidate", "other"]
)


@settings(max_examples=300, deadline=None)
@given(entry=st.dictionaries(fields_of_prompts, json_values), with_points=st.booleans())
def test_any_json_is_a_prompt_or_one_clear_error(entry: dict[str, Any], with_points: bool) -> None:
    if with_points:
        entry = {"view": "a", "points": [[1, 2]], **entry}
    try:
        prompt = prompt_from_json(entry, Path())
    except SA3DError:
        return
    numbers = [*(x for point in prompt.points for x in point), *(prompt.box or ())]
    assert all(type(one) is float and math.isfinite(one) for one in numbers)
    assert all(type(label) is int and label in (0, 1) for label in prompt.labels)
    assert prompt.candidate in (None, 0, 1, 2)
    assert type(prompt.candidate) is not bool
    again = prompt_from_json(json.loads(json.dumps(prompt.to_json())), Path())
    assert again == prompt


def test_bad_masks(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 6), dtype=np.uint8)).save(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("no image")
    for name, size, message in (
        ("empty.png", (6, 4), "is empty"),
        ("empty.png", (5, 4), "6 x 4 px, but view 'a.png' is 5 x 4 px"),
        ("text.png", (6, 4), "cannot read"),
        ("none.png", (6, 4), "cannot read"),
    ):
        with pytest.raises(SA3DError, match=message):
            Prompt("a.png", mask=tmp_path / name).load_mask(*size)


def test_prompts_file(tmp_path: Path) -> None:
    file = tmp_path / "prompts.json"
    file.write_text(
        json.dumps(
            {
                "prompts": [
                    {"view": "a", "points": [[1, 2]], "object": None},
                    {"view": "b", "text": "cup"},
                ]
            }
        )
    )
    first, second = load_prompts(file)
    assert first == Prompt("a", points=((1.0, 2.0),), labels=(1,))
    assert (second.object, second.text) == ("object", "cup")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "holds no prompts"),
        ('{"prompts": []}', "holds no prompts"),
        ('{"prompts": [3]}', '"view"'),
        ('{"prompts": [{"view": "a", "point": [[1, 2]]}]}', "unknown key 'point'"),
        ('{"prompts": [{"view": "a", "points": [1, 2]}]}', '"points" must be'),
        ('{"prompts": [{"view": "a", "box": [1, 2, 3]}]}', '"box" must be'),
        ('{"prompts": [{"view": "a", "box": [NaN, 1, 2, 3]}]}', "NaN is not a number"),
        ('{"prompts": [{"view": "a", "points": [[1, 2]], "labels": [0.7]}]}', "labels must be"),
        ('{"prompts": [{"view": "a", "points": [[1, 2]], "labels": ["1"]}]}', '"labels" must be'),
        ('{"prompts": [{"view": "a", "mask": 5}]}', 'the "mask" of a prompt is'),
        ('{"prompts": [{"view": "a", "mask": ""}]}', "is empty"),
        ('{"prompts": [{"view": "a", "text": "cup", "object": 5}]}', 'the "object" of a prompt is'),
        ('{"prompts": [{"view": "a", "text": ["cup"]}]}', 'the "text" of a prompt is'),
    ],
)
def test_bad_prompts_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "prompts.json").write_text(content)
    with pytest.raises(SA3DError, match=message):
        load_prompts(tmp_path / "prompts.json")


def test_missing_prompts_file(tmp_path: Path) -> None:
    with pytest.raises(SA3DError, match="cannot read prompts file"):
        load_prompts(tmp_path / "prompts.json")


def test_background_points_alone_mark_no_object() -> None:
    beside = Prompt("a.png", points=((1, 2),), labels=(0,))
    with pytest.raises(SA3DError, match="background points only"):
        check_marks_object([beside])
    check_marks_object([beside, Prompt("a.png", box=(1, 1, 5, 5))])
