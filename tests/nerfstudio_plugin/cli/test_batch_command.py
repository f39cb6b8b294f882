"""``sa3d batch``, on the analytic scene."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from PIL import Image

from nerfstudio_plugin.api import models
from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.batch import runner
from nerfstudio_plugin.batch.jobs_file import SCHEMA, read_batch
from nerfstudio_plugin.batch.outputs import remove_places
from nerfstudio_plugin.batch.runner import run_batch
from nerfstudio_plugin.cli import batch as cli_batch
from sa3d.base.array_files import load_arrays
from sa3d.base.errors import SA3DError
from sa3d.base.mask_overlap import iou
from sa3d.testing.oracle_detector import OracleDetector

CLICK = {"object": "ball", "view": "frame_00000", "points": [[52, 34]]}
BESIDE = {**CLICK, "labels": [0]}
BALL = {"name": "ball", "scene": "table", "prompts": [CLICK]}


def write(folder, *jobs, **more):
    content = {
        "version": 1,
        "defaults": {"segmenter": "graphcut", "settings": {"prepare": {"resolution": 40}}},
        "scenes": {"table": {"load_config": "config.yml", "cache_dir": "sa3d_cache"}},
        "jobs": list(jobs),
        **more,
    }
    path = folder / "jobs.json"
    path.write_text(json.dumps(content))
    return path


def run(command_line, *more):
    code, out, err = command_line.run("batch", "jobs.json", "--output", "out", *more)
    path = command_line.folder / "out/results.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return code, out, err, [json.loads(line) for line in lines]


@pytest.mark.usefixtures("ball")
def test_a_failed_job_does_not_stop_the_others_and_runs_again(command_line, photographed):
    Image.fromarray(photographed.masks["crate"][2]).save(command_line.folder / "crate.png")
    crate = {
        "name": "crate",
        "scene": "table",
        "prompts": [{"object": "crate", "view": "frame_00002", "mask": "crate.png"}],
        "exports": [
            {"output": "box.json"},
            {"output": "crate.npz", "options": {"pointcloud": {"count": 100}}},
        ],
    }
    lost = {**BALL, "name": "lost", "prompts": [{**CLICK, "view": "frame_99"}]}
    write(command_line.folder, BALL, lost, crate)
    code, out, err, results = run(command_line)
    assert code == 1
    assert [(one["job"], one["status"]) for one in results] == [
        ("ball", "done"),
        ("lost", "failed"),
        ("crate", "done"),
    ]
    assert "no view is called 'frame_99'" in results[1]["error"]
    assert "lost: FAILED: no view is called 'frame_99'" in out
    assert "2 of 3 jobs done" in out
    assert err.strip() == "not done: lost"
    assert results[0]["objects"]["ball"]["converged"] is True
    assert set(results[0]["stages"]) == {"prepare", "segment", "write"}
    exports = results[2]["exports"]
    assert [one["kind"] for one in exports] == ["box", "pointcloud"]
    assert exports[1]["files"]["crate"]["points"] == 100
    assert all((command_line.folder / one["output"]).is_file() for one in exports)
    command_line.succeeds("info", "out/ball/segmentation")

    write(command_line.folder, BALL, {**lost, "prompts": [CLICK]}, crate)
    code, out, err, results = run(command_line)
    assert (code, err) == (0, "")
    assert "ball: done before" in out
    assert "crate: done before" in out
    assert [one["job"] for one in results[3:]] == ["lost"]


@pytest.mark.usefixtures("ball")
def test_an_interrupted_batch_continues(command_line, monkeypatch):
    second = {**BALL, "name": "second", "exports": [{"output": "box.json"}]}
    write(command_line.folder, BALL, second)
    with monkeypatch.context() as patch:
        save = OpenScene.save
        saved = []

        def killed(scene, folder, *, overwrite):
            report = save(scene, folder, overwrite=overwrite)
            saved.append(folder)
            if len(saved) == 2:  # the segmentation lies there, its export does not
                raise KeyboardInterrupt
            return report

        patch.setattr(OpenScene, "save", killed)
        code, *_, results = run(command_line)
    assert code == 130
    assert [one["job"] for one in results] == ["ball"]
    with (command_line.folder / "out/results.jsonl").open("a") as file:
        file.write('{"job": "ball", "status": "fai')  # killed while it wrote
    assert command_line.run("batch", "jobs.json", "--output", "out")[0] == 0
    lines = (command_line.folder / "out/results.jsonl").read_text().splitlines()
    assert [json.loads(line)["job"] for line in (lines[0], lines[2])] == ["ball", "second"]
    assert len(lines) == 3
    assert (command_line.folder / "out/second/box.json").is_file()


@pytest.mark.usefixtures("ball")
def test_a_changed_job_runs_again_and_one_of_another_process_does_not(command_line):
    write(command_line.folder, BALL)
    assert run(command_line)[0] == 0
    write(command_line.folder, {**BALL, "exports": [{"output": "box.json"}]})
    with FileLock(command_line.folder / "out/.locks/ball.lock"):
        code, _, err, results = run(command_line)
    assert (code, len(results)) == (1, 1)
    assert err.strip() == "not done: ball"
    assert run(command_line)[0] == 0
    assert (command_line.folder / "out/ball/box.json").is_file()


@pytest.mark.usefixtures("ball")
def test_exports_that_were_dropped_are_removed(command_line):
    """Files that are still exported, and files of others, stay."""
    crate = {"object": "crate", "view": "frame_00003", "points": [[62, 36]]}
    exports = [{"output": "a/box.json"}, {"output": "masks"}, {"output": "kept.json"}]
    write(command_line.folder, {**BALL, "prompts": [CLICK, crate], "exports": exports})
    assert run(command_line)[0] == 0
    job = command_line.folder / "out/ball"
    assert {path.name for path in (job / "masks").iterdir()} == {
        *("ball", "ball.manifest.json", "crate", "crate.manifest.json")
    }
    manifest = json.loads((job / "kept.json.manifest.json").read_text())
    assert manifest["source"]["segmentation"] == str(job / "segmentation")
    (job / "notes.txt").write_text("mine")
    (job / "masks/.partial-1").mkdir()
    (job / "masks/.partial-1/half.png").touch()

    lost = {**BALL, "prompts": [{**CLICK, "view": "nowhere"}]}
    write(command_line.folder, lost)  # what fails in between removes nothing
    assert run(command_line)[0] == 1
    assert (job / "a/box.json").is_file()

    exports = [{"output": "masks", "objects": ["ball"]}, {"output": "kept.json"}]
    write(command_line.folder, {**BALL, "exports": exports})
    assert run(command_line)[0] == 0
    assert {path.name for path in job.iterdir()} == {
        *("segmentation", "masks", "kept.json", "kept.json.manifest.json", "notes.txt")
    }
    assert {path.name for path in (job / "masks").iterdir()} == {"ball", "ball.manifest.json"}


def test_nothing_outside_the_jobs_folder_is_removed(tmp_path):
    job = tmp_path / "job"
    (job / "new").mkdir(parents=True)
    for path in (tmp_path / "other", job / "old", job / "new/file"):
        path.touch()
    remove_places(job, ["../other", ".", "old", "gone", "new"], ["new/file"])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "job", "new", "other"]


@pytest.mark.usefixtures("ball")
def test_a_job_that_failed_in_another_process_is_not_run_again(command_line):
    lost = [{**BALL, "name": name, "prompts": [{**CLICK, "view": "none"}]} for name in "abc"]
    batch = read_batch(write(command_line.folder, *lost))
    output = command_line.folder / "out"
    one, two = run_batch(batch, output), run_batch(batch, output)
    assert [next(one)["job"], next(two)["job"], next(one)["job"]] == ["a", "b", "c"]
    assert [list(one), list(two)] == [[], []]
    again = [result["job"] for result in run_batch(batch, output)]
    assert again == ["a", "b", "c"]


@pytest.mark.usefixtures("ball")
def test_words_and_unexpected_failures(command_line, photographed, monkeypatch):
    views = photographed.scene.views
    masks = {
        view.name: {name: stack[i] for name, stack in photographed.masks.items()}
        for i, view in enumerate(views)
    }
    detector = OracleDetector({view.name: view.image() for view in views}, masks)
    monkeypatch.setattr(models, "load_detector", lambda *_: detector)
    words = {**BALL, "name": "words", "prompts": [{"object": "it", "text": "ball"}]}
    broken = {**BALL, "name": "broken", "everything": True}
    del broken["prompts"]
    monkeypatch.setattr(OpenScene, "segment_everything", lambda *_, **__: 1 / 0)
    write(command_line.folder, broken, words)
    code, *_, results = run(command_line)
    assert code == 1
    assert results[0]["error"] == "ZeroDivisionError('division by zero')"
    assert "1 / 0" in "".join(results[0]["traceback"])
    assert results[1]["status"] == "done"
    with Image.open(command_line.folder / "out/words/segmentation/masks/it/00000.png") as picture:
        assert iou(np.asarray(picture), photographed.masks["ball"][0]) > 0.8


@pytest.mark.slow
def test_two_workers_give_the_result_of_one(command_line, ball, monkeypatch):
    crate = {"object": "crate", "view": "frame_00003", "points": [[62, 36]]}
    both = {**BALL, "name": "both", "prompts": [CLICK, crate], "exports": [{"output": "box.json"}]}
    write(command_line.folder, BALL, both)
    assert run(command_line)[0] == 0
    worker = Path(__file__).parents[1].joinpath("batch_worker.py")
    monkeypatch.setattr(cli_batch, "_PROGRAM", (str(worker),))
    before = signal.getsignal(signal.SIGTERM)
    code, _, err = command_line.run("batch", "jobs.json", "--output", "two", "--workers", "2")
    assert code == 0, err
    assert signal.getsignal(signal.SIGTERM) is before
    lines = (command_line.folder / "two/results.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["job"] for line in lines) == ["ball", "both"]
    for job in ("ball", "both"):
        one, two = (
            load_arrays(command_line.folder / out / job / "segmentation/elements.npz")
            for out in ("out", "two")
        )
        assert list(one) == list(two)
        for name in one:
            np.testing.assert_array_equal(one[name], two[name])
    boxes = [(command_line.folder / out / "both/box.json").read_bytes() for out in ("out", "two")]
    assert boxes[0] == boxes[1]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_the_workers(tmp_path, number, code):
    program = Path(__file__).parents[1].joinpath("batch_sleeper.py")
    jobs = ("batch", write(tmp_path, BALL), "--output", tmp_path, "--workers", "2")
    batch = subprocess.Popen([sys.executable, program, *map(str, jobs)])
    try:
        while len(workers := [int(path.stem) for path in tmp_path.glob("*.pid")]) < 2:
            assert batch.poll() is None
            time.sleep(0.1)
    finally:
        batch.send_signal(number)
        assert batch.wait(timeout=120) == code
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


@pytest.mark.slow
def test_a_job_that_kills_its_worker_fails_alone(tmp_path):
    program = Path(__file__).parents[1].joinpath("batch_killer.py")
    names = ("one", "kills", "two", "three", "kills_once")
    path = write(tmp_path, *({**BALL, "name": name} for name in names))
    jobs = ("batch", path, "--output", tmp_path, "--workers", "2")
    done = subprocess.run(
        [sys.executable, program, *map(str, jobs)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1, done.stderr
    assert "4 of 5 jobs done" in done.stdout
    assert "not done: kills\n" in done.stderr
    assert done.stderr.count("was killed (Killed)") == 3
    results = runner.read_results(tmp_path)
    finished = {name for name, one in results.items() if one["status"] == "done"}
    assert finished == {*names} - {"kills"}
    assert "was killed 2 times" in results["kills"]["error"]
    assert sorted((tmp_path / "attempts").read_text().split()) == ["kills"] * 2 + ["kills_once"] * 2


@pytest.mark.slow
def test_workers_end_with_a_killed_batch(tmp_path):
    program = Path(__file__).parents[1].joinpath("batch_sleeper.py")
    jobs = ("batch", write(tmp_path, BALL), "--output", tmp_path, "--workers", "2")
    batch = subprocess.Popen([sys.executable, program, *map(str, jobs)])
    while len(workers := [int(path.stem) for path in tmp_path.glob("*.pid")]) < 2:
        assert batch.poll() is None
        time.sleep(0.1)
    batch.kill()
    batch.wait()
    deadline = time.monotonic() + 60
    while any(is_running(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_running(process):
    try:
        return "zombie" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_an_interrupted_job_counts_no_attempt(tmp_path):
    job = SimpleNamespace(name="a", key="k")
    mark = tmp_path / "a.started"
    for error in (KeyboardInterrupt, SystemExit):
        with pytest.raises(error), runner._attempt(mark, job) as number:
            raise error
        assert number == 1
        assert not mark.exists()
    mark.write_text("k 1")
    with runner._attempt(mark, job) as number:
        assert number == 2
    mark.write_text("other 1")
    with runner._attempt(mark, job) as number:
        assert number == 1


def test_the_schema_is_valid():
    Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))


def without(job, key):
    return {k: v for k, v in job.items() if k != key}


@pytest.mark.parametrize(
    ("jobs", "more", "words"),
    [
        ([], {}, "jobs: .*; expected: at least one job"),
        ([BALL], {"version": 2}, "version: 1 was expected"),
        ([BALL], {"cenes": {}}, "the whole file: .*'cenes' was unexpected"),
        ([without(BALL, "scene")], {}, r"jobs\[0\]: 'scene' is a required property"),
        ([{**BALL, "prompts": [{**CLICK, "box": [9, 9, 3, 3]}]}], {}, r"jobs\[0\]: .*is empty"),
        ([BALL, {**BALL, "prompts": [{**CLICK, "points": [[1]]}]}], {}, r"jobs\[1\].*points\[0\]"),
        ([{**BALL, "prompts": [{**CLICK, "labels": [2]}]}], {}, "1 on the object, 0 beside it"),
        ([{**BALL, "prompts": [BESIDE]}], {}, r"jobs\[0\]: .*background points only"),
        ([{**BALL, "prompts": [CLICK, BESIDE]}], {}, r"jobs\[0\]: .*both object and background"),
        ([{**BALL, "prompts": [{**CLICK, "points": [[np.nan, 1]]}]}], {}, "NaN is not a number"),
        ([{**BALL, "prompts": [{**CLICK, "candidate": 3}]}], {}, "candidate: 3 .*: 0, 1 or 2"),
        ([{**BALL, "prompts": [{**CLICK, "labels": [1, 0]}]}], {}, r"jobs\[0\].*1 points but 2"),
        ([{**BALL, "name": "../up"}], {}, r"jobs\[0\]\.name: .*expected: letters"),
        ([{**BALL, "name": "ball\n"}], {}, r"jobs\[0\]\.name: .*expected: letters"),
        ([BALL, {**BALL, "name": "BALL"}], {}, r"jobs\[1\]: there is a job 'ball' already"),
        (
            [{**BALL, "prompts": [CLICK, {**CLICK, "object": "Ball"}]}],
            {},
            r"jobs\[0\]: the objects 'ball' and 'Ball' would have files of the same names",
        ),
        ([{**BALL, "name": "a" * 101}], {}, r"jobs\[0\]\.name: .*too long; .* 100 at most"),
        (
            [{**BALL, "exports": [{"output": "../up.glb"}]}],
            {},
            r"exports\[0\]\.output.*without \.\.",
        ),
        *(
            ([job], {}, r'^jobs.json, jobs\[0\]: give either "prompts" or "everything": true$')
            for job in ({**BALL, "everything": True}, without(BALL, "prompts"))
        ),
        (
            [{**BALL, "exports": [{"output": "a.jpg"}]}],
            {},
            r"^jobs.json, jobs\[0\]\.exports\[0\]: no kind of export for 'a.jpg'",
        ),
        (
            [{**BALL, "exports": [{"output": "a.glb", "options": {"mesh": {"faces": -5}}}]}],
            {},
            r"'jobs.json, jobs\[0\]\.exports\[0\]': 'mesh\.faces' must be at least 4, is -5",
        ),
        (
            [{**BALL, "exports": [{"output": "a.glb", "options": {"mesh": {"face": 1}}}]}],
            {},
            r"jobs\[0\]\.exports\[0\].*unknown key 'mesh\.face'; known: .*mesh\.faces",
        ),
        (
            [{**BALL, "exports": [{"output": "a.glb", "options": {"frame": "world"}}]}],
            {},
            "'frame' must be one of original, nerfstudio, is 'world'",
        ),
        (
            [{**BALL, "exports": [{"output": "a", "options": {"overwrite": True}}]}],
            {},
            "sets the option 'overwrite' itself",
        ),
        *(
            (
                [{**BALL, "exports": [{"output": one, "kind": "masks"}]}],
                {},
                "is the segmentation's folder",
            )
            for one in (".", "segmentation", "segmentation/masks")
        ),
        (
            [{**BALL, "exports": [{"output": "a.glb"}, {"output": "./a.glb"}]}],
            {},
            r"exports\[1\]: 'a.glb' is the output of an earlier export",
        ),
        (
            [{**BALL, "exports": [{"output": "a.glb"}, {"output": "a.glb.manifest.json"}]}],
            {},
            r"exports\[1\]: 'a.glb.manifest.json' is a manifest's name",
        ),
        (
            [{**BALL, "exports": [{"output": "a.glb", "objects": ["bell"]}]}],
            {},
            "no object 'bell' in this job: ball",
        ),
        ([{**BALL, "segmenter": "scissors"}], {}, r"jobs\[0\]: unknown segmenter 'scissors'"),
        ([{**BALL, "detector": "nose"}], {}, r"jobs\[0\]: unknown detector 'nose'; known: auto"),
        ([{**BALL, "name": "results.jsonl"}], {}, "is the file of all results: rename the job"),
        ([BALL, BALL], {}, r"jobs\[1\]: there is a job 'ball' already"),
        ([{**BALL, "scene": "attic"}], {}, "no scene 'attic'; there are: table"),
        ([{**BALL, "config": "outdoors"}], {}, r"^jobs.json, jobs\[0\]: no config 'outdoors'"),
        ([{**BALL, "settings": {"loop": {"lam": "much"}}}], {}, "'loop.lam' must be a number"),
        (
            [{**BALL, "settings": {"loop": {"lam": -4}}}],
            {},
            r"jobs\[0\]': 'loop.lam' must be above 0",
        ),
    ],
)
def test_errors_name_the_place_in_the_file(tmp_path, jobs, more, words):
    with pytest.raises(SA3DError, match=words):
        read_batch(write(tmp_path, *jobs, **more))


def test_a_prompt_may_choose_a_candidate(tmp_path):
    batch = read_batch(write(tmp_path, {**BALL, "prompts": [{**CLICK, "candidate": 2}]}))
    assert batch.jobs[0].prompts[0].candidate == 2


def test_background_points_beside_other_prompts_are_valid(tmp_path):
    beside = {**BESIDE, "points": [[10, 10]], "view": "images/frame_00000.png"}
    words = {"object": "ball", "text": "the ball"}
    for marked in (CLICK, words):
        read_batch(write(tmp_path, {**BALL, "prompts": [beside, marked]}))


def test_a_wrong_file_runs_nothing(command_line):
    assert "cannot read" in command_line.refuses("batch", "jobs.json", "--output", "out")
    (command_line.folder / "jobs.json").write_text("{")
    assert "not valid JSON" in command_line.refuses("batch", "jobs.json", "--output", "out")
    assert not (command_line.folder / "out").exists()
    write(command_line.folder, {**BALL, "exports": [{}]})
    check = ("batch", "jobs.json", "--output", "out", "--check")
    assert "'output' is a required" in command_line.refuses(*check)  # a key, not the option
    write(command_line.folder, BALL)
    line = command_line.refuses(*check)
    assert line.startswith("error: jobs.json names missing files: ")
    assert line.endswith("config.yml")
    (command_line.folder / "config.yml").touch()
    assert "--workers must be at least 1, is 0" in command_line.refuses(*check, "--workers", "0")
    out = command_line.succeeds(*check)
    assert out.strip() == "jobs.json: 1 jobs in 1 scenes"
    assert not (command_line.folder / "out").exists()


def test_the_documented_file_is_valid(tmp_path):
    page = (Path(__file__).parents[3] / "docs/batch.md").read_text()
    (tmp_path / "jobs.json").write_text(page.split("```json\n")[1].split("```")[0])
    batch = read_batch(tmp_path / "jobs.json")
    assert len(batch.jobs) >= 3


FULL = {
    "version": 1,
    "defaults": {"segmenter": "graphcut", "settings": {"prepare": {"resolution": 40}}},
    "scenes": {"table": {"load_config": "config.yml", "data": "data", "cache_dir": "cache"}},
    "jobs": [
        {
            "name": "ball",
            "scene": "table",
            "config": "default",
            "detector": "auto",
            "prompts": [
                {**CLICK, "labels": [1], "candidate": 1},
                {"view": "frame_00001", "object": "ball", "box": [1, 2, 3, 4], "text": "ball"},
                {"view": "frame_00002", "object": "ball", "mask": "mask.png"},
            ],
            "exports": [
                {"output": "a.glb", "objects": ["ball"], "options": {"mesh": {"faces": 500}}},
                {"kind": "masks", "output": "masks", "options": {"layout": "rgba", "crop": True}},
            ],
        },
        {"name": "all", "scene": "table", "everything": True},
    ],
}


def places(content, path=()):
    yield path
    inner = content.items() if isinstance(content, dict) else ()
    inner = enumerate(content) if isinstance(content, list) else inner
    for key, value in inner:
        yield from places(value, (*path, key))


def edited(content, path, value):
    if not path:
        return value
    changed = copy.copy(content)
    changed[path[0]] = edited(content[path[0]], path[1:], value)
    return changed


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, -1, 10**17, 1e308, "", "../up", "/etc", "a\0b", "ball\n", "NaN"])
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(path=st.sampled_from(list(places(FULL))), value=json_values)
def test_any_edited_value_is_a_batch_or_one_clear_error(tmp_path, path, value):
    (tmp_path / "jobs.json").write_text(json.dumps(edited(FULL, path, value)))
    try:
        batch = read_batch(tmp_path / "jobs.json")
    except SA3DError:
        return
    batch.absent_files()
    for job in batch.jobs:
        folder = (tmp_path / "out" / job.name).resolve()
        assert folder.parent == (tmp_path / "out").resolve()
        for export in job.exports:
            assert folder in (folder / export.output).resolve().parents


def test_the_whole_file_is_valid(tmp_path):
    (tmp_path / "jobs.json").write_text(json.dumps(FULL))
    assert [job.name for job in read_batch(tmp_path / "jobs.json").jobs] == ["ball", "all"]


@pytest.mark.usefixtures("ball")
def test_the_objects_of_a_job_stand_alone(command_line, photographed):
    seen = np.any([masks[0] for masks in photographed.masks.values()], axis=0)
    Image.fromarray(~seen).save(command_line.folder / "sky.png")
    sky = {"object": "sky", "view": "frame_00000", "mask": "sky.png"}
    exports = [
        {"output": "all.json", "kind": "box"},
        {"output": "sky.json", "kind": "box", "objects": ["sky"]},
    ]
    job = {"name": "two", "scene": "table", "prompts": [sky, CLICK], "exports": exports}
    write(command_line.folder, job)
    code, out, err, results = run(command_line)
    assert code == 1
    assert results[0]["status"] == "partly done"
    assert "'sky' lands on nothing" in results[0]["error"]
    assert list(results[0]["objects"]) == ["ball"]
    assert [one["places"][0] for one in results[0]["exports"]] == ["all.json"]
    assert "two: PARTLY DONE: the prompt for 'sky' lands on nothing" in out
    assert err.strip() == "not done: two"

    write(command_line.folder, {**job, "prompts": [sky], "exports": []})
    code, *_, results = run(command_line)
    assert code == 1
    assert results[1]["status"] == "failed"
