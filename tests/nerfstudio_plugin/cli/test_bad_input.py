"""Bad input through ``sa3d``: exit code 2, one clear line, and nothing lost."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from nerfstudio_plugin.cli import main
from sa3d.objects.checkpoint import load_segmentation, save_segmentation
from sa3d.testing.analytic_fields import AnalyticField


def content(folder):
    """The content of all files below a folder."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def damage(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# Prompts.


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("--points 200,10", "point (200, 10) lies outside the image"),
        ("--points=-4,10", "point (-4, 10) lies outside the image"),
        ("--box 20,10 400,60", "lies outside the image"),
        ("--box 20,10 20,60", "is empty"),
        ("--box 20,10 60", "four numbers: there are 3"),
        ("--points 20,10 60", "one number is left over"),
        ("--points 20,ten", "could not convert string to float: 'ten'"),
        ("--points 52,34 --labels 0", "background points only"),
        ("--points 52,34 52,34 --labels 1 0", "both object and background"),
        ("--points 52,34 --labels 1 0", "1 points but 2 labels"),
        ("--points 52,34 --labels 7", "labels must be 1 (object) or 0 (background)"),
        ("--points 52,34 --object a/b", "without slashes"),
        ("", "no prompt given"),
        ("--text mug", "hf download IDEA-Research/grounding-dino-tiny"),
        ("--text mug --detector yolo", "unknown detector 'yolo'; known: auto, grounding-dino-"),
        ("--text ...", "the text is empty"),
        ("--mask missing.png", "cannot read mask 'missing.png'"),
        ("--points 52,34 --segmenter sum-base", "unknown segmenter 'sum-base'"),
        ("--points 52,34 --config foggy", "no config 'foggy'"),
    ],
)
def test_invalid_prompts_are_refused(command_line, prompt, words):
    line = command_line.refuses(
        *command_line.segment("out", "--view", "frame_00000.png", *prompt.split())
    )
    assert words in line
    assert not (command_line.folder / "out").exists()
    assert not (command_line.folder / "sa3d_cache").exists()  # refused before the long part


def test_a_missing_or_unknown_view(command_line):
    click = ("--points", "52,34")
    assert "--view" in command_line.refuses(*command_line.segment("out", *click))
    line = command_line.refuses(*command_line.segment("out", *click, "--view", "frame_0000.png"))
    assert "no view is called 'frame_0000.png'" in line
    assert "there are 12, for example frame_" in line


def test_mask_of_another_size(command_line):
    Image.fromarray(np.ones((10, 20), dtype=bool)).save(command_line.folder / "small.png")
    line = command_line.refuses(
        *command_line.segment("out", "--view", "frame_00000", "--mask", "small.png")
    )
    assert "is 20 x 10 px, but view 'frame_00000' is 96 x 72 px" in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot read prompts file"),
        ('{"prompts": [{"view": "frame_00', "not valid JSON"),
        ('{"prompts": []}', "holds no prompts"),
        ("[]", "holds no prompts"),
        ('{"prompts": [{"points": [[1, 2]]}]}', 'needs a "view"'),
        ('{"prompts": [{"view": "frame_00000.png"}]}', "is empty: give points"),
        ('{"prompts": [{"view": "frame_00000.png", "point": [1, 2]}]}', "unknown key 'point'"),
        ('{"prompts": [{"view": "frame_00000.png", "points": [1, 2]}]}', "must be [(x, y), ...]"),
        ('{"prompts": [{"view": "frame_00000.png", "text": "mug"}]}', "--detector"),
        ('{"prompts": [{"text": 3}]}', "words in quotes"),
    ],
)
def test_prompts_file(command_line, text, words):
    if text is not None:
        (command_line.folder / "prompts.json").write_text(text)
    line = command_line.refuses(*command_line.segment("out", "--prompts", "prompts.json"))
    assert words in line


def test_prompts_file_beside_typed_prompts(command_line):
    line = command_line.refuses(*command_line.segment_ball("out", "--prompts", "prompts.json"))
    assert "not both" in line


def test_unknown_command_export_and_option(command_line):
    assert "unknown command 'segmnt'" in command_line.refuses("segmnt")
    assert "unknown kind of export 'obj'" in command_line.refuses("export", "obj")
    code, _, err = command_line.run("prepare", "--load-cfg", "config.yml")
    assert code == 2
    assert "--load-cfg" in err


# The field.


class Spoiled(AnalyticField):
    """The analytic scene's field with one thing wrong."""

    def __init__(self, field, fingerprint, spoil):
        super().__init__(field.shapes, field.bounds)
        self._name, self._spoil = fingerprint, spoil

    @property
    def fingerprint(self):
        return self._name

    def render(self, rays, camera_index=-1):
        return self._spoil(super().render(rays, camera_index))


def empty(render):
    return replace(render, weights=render.weights * 0, accumulation=render.accumulation * 0)


def not_a_number(render):
    return replace(render, weights=render.weights * torch.nan)


def test_zero_density_along_the_prompted_rays(command_line):
    command_line.field = Spoiled(command_line.field, "empty", empty)
    line = command_line.refuses(*command_line.segment_ball("out"))
    assert "'ball' lands on nothing" in line
    assert not (command_line.folder / "out").exists()


def test_nan_density(command_line):
    command_line.field = Spoiled(command_line.field, "nan", not_a_number)
    line = command_line.refuses(*command_line.segment_ball("out"))
    assert "NaN" in line
    assert not list(command_line.folder.glob("sa3d_cache/*/views/*.npz"))


def test_an_object_that_no_view_sees(command_line, ball):
    saved = load_segmentation(ball)
    saved.segmentation.object("ball").evidence.object.zero_()  # all of it says: not the object
    save_segmentation(saved.segmentation, ball, saved.provenance, overwrite=True)
    for command in ("export masks", "export mesh", "export pointcloud", "export box", "render"):
        line = command_line.refuses(*command.split(), "--segmentation", ball, "--output", "out")
        assert "'ball' is empty" in line
    assert not (command_line.folder / "out").exists()


# Saved things.


def test_invalid_settings_are_refused(command_line):
    line = command_line.refuses(*command_line.segment_ball("out", "--loop.lam", "0"))
    assert line == "error: --loop.lam must be above 0, is 0.0"


@pytest.mark.parametrize("name", ["segmentation.json", "elements.npz"])
def test_truncated_or_missing_segmentation(command_line, ball, name):
    damage(ball / name)
    export = ("export", "masks", "--segmentation", ball, "--output", "out")
    assert "damaged" in command_line.refuses(*export)
    (ball / name).unlink()
    line = command_line.refuses(*export)
    assert "no segmentation in" in line or "damaged" in line


def test_unknown_object(command_line, ball):
    line = command_line.refuses(
        "export", "mesh", "--segmentation", ball, "--output", "o.ply", "--objects", "bell"
    )
    assert line == "error: no object 'bell' here; there are: ball"


def test_existing_results_are_replaced_with_overwrite_only(command_line, ball):
    before = content(ball)
    assert "--overwrite" in command_line.refuses(*command_line.segment_ball(ball))
    assert content(ball) == before
    (ball / "notes.txt").write_text("mine")
    line = command_line.refuses(*command_line.segment_ball(ball, "--overwrite"))
    assert "notes.txt" in line
    (ball / "notes.txt").unlink()
    command_line.succeeds(*command_line.segment_ball(ball, "--overwrite"))
    assert set(content(ball)) >= {ball / "results.json", ball / "overlay.png"}


def test_segmentation_of_another_checkpoint_is_refused(command_line, ball):
    command_line.field = Spoiled(command_line.field, "trained longer", lambda render: render)
    for command in ("export masks", "render"):
        line = command_line.refuses(*command.split(), "--segmentation", ball, "--output", "out")
        assert "another checkpoint" in line
    assert not (command_line.folder / "out").exists()


# The cache.

PREPARE = ("prepare", "--load-config", "config.yml", "--prepare.ray-side", "24")


def caches(command_line):
    return sorted((command_line.folder / "sa3d_cache").iterdir())


def test_cache_of_another_checkpoint_or_config_is_not_used(command_line):
    command_line.succeeds(*PREPARE)
    assert "(0 were before)" in command_line.succeeds(*PREPARE, "--prepare.min-weight", "0.01")
    command_line.field = Spoiled(command_line.field, "trained longer", lambda render: render)
    assert "(0 were before)" in command_line.succeeds(*PREPARE)
    assert len(caches(command_line)) == 3


def test_cache_with_a_foreign_manifest_is_refused(command_line):
    command_line.succeeds(*PREPARE)
    (cache,) = caches(command_line)
    manifest = json.loads((cache / "scene.json").read_text())
    (cache / "scene.json").write_text(json.dumps(manifest | {"field": "another"}))
    before = content(cache)
    assert "was made from something else: delete it" in command_line.refuses(*PREPARE)
    assert content(cache) == before


@pytest.mark.parametrize("name", ["views/00003.npz", "scene.json"])
def test_truncated_cache(command_line, name):
    command_line.succeeds(*PREPARE)
    (cache,) = caches(command_line)
    damage(cache / name)
    if name == "scene.json":
        assert "is damaged: delete it" in command_line.refuses("info", cache)
        assert "(12 were before)" in command_line.succeeds(*PREPARE)
    else:
        assert "(11 were before)" in command_line.succeeds(*PREPARE)


def test_a_truncated_encoding_is_computed_again(command_line, ball):
    whole = content(ball / "masks")
    for path in command_line.folder.glob("sa3d_cache/*/encodings/*/*.npz"):
        damage(path)
    command_line.succeeds(*command_line.segment_ball(ball, "--overwrite"))
    assert content(ball / "masks") == whole


# Interruptions.


def full_disk_at(monkeypatch, call):
    """Make writing arrays fail half-way, from the given file on."""
    archives, opened = [], zipfile.ZipFile.open

    def open_in(self, name, mode="r", **options):
        if mode == "w" and self not in archives:
            archives.append(self)
        if mode == "w" and len(archives) >= call:
            self.fp.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(self, name, mode, **options)

    monkeypatch.setattr(zipfile.ZipFile, "open", open_in)


def stop_at(monkeypatch, kind, name, call):
    """Press Ctrl-C at the given call of a method."""
    calls, original = [], getattr(kind, name)

    def interrupted(*args, **options):
        calls.append(name)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*args, **options)

    monkeypatch.setattr(kind, name, interrupted)


def test_full_disk_while_preparing(command_line, monkeypatch):
    with monkeypatch.context() as patch:
        full_disk_at(patch, 5)
        assert "the disk is full" in command_line.refuses(*PREPARE)
    (cache,) = caches(command_line)
    assert len(list((cache / "views").iterdir())) == 4  # no half file either
    assert "(4 were before)" in command_line.succeeds(*PREPARE)


def test_full_disk_while_saving_keeps_the_older_segmentation(command_line, ball, monkeypatch):
    before = content(ball)
    full_disk_at(monkeypatch, 1)
    line = command_line.refuses(*command_line.segment_ball(ball, "--overwrite"))
    assert "the disk is full" in line
    assert content(ball) == before


def test_full_disk_while_exporting(command_line, ball, monkeypatch):
    calls, save = [], Image.Image.save

    def fail(self, place, *args, **options):
        calls.append(place)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(self, place, *args, **options)

    export = ("export", "masks", "--segmentation", ball, "--output", "masks")
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", fail)
        assert "the disk is full" in command_line.refuses(*export)
    assert content(command_line.folder / "masks") == {}
    command_line.succeeds(*export)
    assert len(content(command_line.folder / "masks/ball")) == 12


def test_ctrl_c_while_preparing(command_line, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, AnalyticField, "render", 7)
        code, _, err = command_line.run(*PREPARE)
    assert code == 130
    assert err.strip() == "stopped; what was finished is kept"
    out = command_line.succeeds(*PREPARE)
    assert "(0 were before)" not in out
    assert "(12 were before)" not in out


def test_ctrl_c_while_exporting_keeps_earlier_files(command_line, ball, monkeypatch):
    export = ("export", "masks", "--segmentation", ball, "--output", "masks", "--overwrite")
    command_line.succeeds(*export)
    before = content(command_line.folder / "masks")
    stop_at(monkeypatch, Image.Image, "save", 4)
    code, _, err = command_line.run(*export)
    assert (code, err.strip()) == (130, "stopped; what was finished is kept")
    assert content(command_line.folder / "masks") == before


def test_ctrl_c_while_segmenting_saves_the_finished_objects(command_line, monkeypatch):
    prompts = [
        {"object": "ball", "view": "frame_00000.png", "points": [[52, 34]]},
        {"object": "crate", "view": "frame_00003.png", "points": [[62, 36]]},
    ]
    (command_line.folder / "prompts.json").write_text(json.dumps({"prompts": prompts}))
    from sa3d.loop.object_loop import ObjectLoop

    original, finished = ObjectLoop.finish, []

    def finish(self, *arguments):
        if finished:
            raise KeyboardInterrupt
        finished.append(self.name)
        return original(self, *arguments)

    monkeypatch.setattr(ObjectLoop, "finish", finish)
    code, _, err = command_line.run(*command_line.segment("out", "--prompts", "prompts.json"))
    assert code == 130
    assert err.strip().splitlines()[-1] == "stopped; what was finished is kept"
    assert f"{finished[0]}: " in command_line.succeeds("info", "out")


def test_unexpected_problems_keep_their_traceback(command_line, monkeypatch):
    monkeypatch.setattr(AnalyticField, "render", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["prepare", "--load-config", "config.yml"])


# Real runs.


def test_run_config_missing_or_truncated(tiny_run, command_line_of_runs):
    line = command_line_of_runs.refuses("prepare", "--load-config", tiny_run.parent / "no.yml")
    assert "does not exist" in line
    damage(tiny_run)
    line = command_line_of_runs.refuses("prepare", "--load-config", tiny_run)
    assert str(tiny_run) in line


def test_checkpoint_truncated_or_missing(tiny_run, command_line_of_runs):
    models = tiny_run.parent / "nerfstudio_models"
    (checkpoint,) = models.iterdir()
    damage(checkpoint)
    line = command_line_of_runs.refuses("prepare", "--load-config", tiny_run)
    assert "damaged or cut short" in line
    shutil.rmtree(models)
    line = command_line_of_runs.refuses("prepare", "--load-config", tiny_run)
    assert "no checkpoint" in line


def test_method_that_cannot_be_segmented_names_those_that_can(tiny_run, command_line_of_runs):
    text = tiny_run.read_text()
    old = "nerfstudio.models.nerfacto.NerfactoModel "
    assert old in text
    tiny_run.write_text(text.replace(old, "nerfstudio.models.splatfacto.SplatfactoModel "))
    line = command_line_of_runs.refuses("prepare", "--load-config", tiny_run)
    assert "cannot be segmented" in line
    assert "nerfacto, nerfacto-big" in line


@pytest.mark.slow
def test_real_run_prepares_and_survives_ctrl_c(tiny_run):
    """Runs in a process of its own, with a real signal."""
    command = [sys.executable, "-m", "nerfstudio_plugin.cli", "prepare"]
    command += ["--load-config", str(tiny_run), "--prepare.resolution", "40"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    cache = tiny_run.parent / "sa3d_cache"
    deadline = time.monotonic() + 400
    while not list(cache.glob("*/views/[0-9]*.npz")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    if process.returncode != 0:  # it may have been done before the signal came
        assert process.returncode == 130
        assert err.strip().splitlines()[-1] == "stopped; what was finished is kept"
    assert not list(cache.rglob(".partial-*"))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "8 views prepared" in done.stdout
    assert "(0 were before)" not in done.stdout
