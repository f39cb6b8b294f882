from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sa3d.objects.checkpoint
from sa3d.base.errors import SA3DError
from sa3d.objects.checkpoint import load_segmentation, save_segmentation
from sa3d.objects.colors import COLORS
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import Segmentation, ViewRecord

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
