"""Runs the jobs of a batch, each once, in any number of processes.

A finished job adds a line to ``results.jsonl`` when all its files are in its folder. So a job that
was killed runs again, and a finished one does not. A failed job does not stop the others. Processes
share the jobs by file locks, which the system releases when a process dies.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from nerfstudio_plugin.api.models import Models
from nerfstudio_plugin.api.open_scene import OpenScene, Progress
from nerfstudio_plugin.api.opening import open as open_run
from nerfstudio_plugin.batch.jobs_file import RESULTS, SEGMENTATION, Batch, Job
from nerfstudio_plugin.batch.outputs import remove_partial, remove_places, written_places
from nerfstudio_plugin.batch.workers import BEFORE
from sa3d.base.errors import ObjectsFailedError, SA3DError
from sa3d.base.json_files import parse_json

ATTEMPTS = 2
"""Times that a job is tried whose process is killed."""
_LOCKS = ".locks"
_TRACEBACK_LINES = 12

Watch = Callable[[Job], AbstractContextManager[Progress]]
"""Context of a job while it is prepared and segmented; gives a callback for its events."""


def run_batch(
    batch: Batch,
    output: Path,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    watch: Watch | None = None,
) -> Iterator[dict[str, Any]]:
    """Run all jobs that are not done and that no other process runs; yield their results.

    A job that another process finished since this call began is not run again, even if it failed.

    Args:
        batch: the jobs.
        output: folder for ``<job>/`` and ``results.jsonl``.
        device: where to compute; "auto" takes a GPU if there is one.
        watch: reports the events of each job.

    Raises:
        SA3DError: the folder cannot be written to.
    """
    try:
        (output / _LOCKS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SA3DError(f"cannot write to {output}: {error.strerror}") from error
    count = os.environ.get(BEFORE)
    before = read_results(output, None if count is None else int(count))
    return _run(batch, output, _Worker(batch, output, device, watch), before)


def _run(
    batch: Batch, output: Path, worker: _Worker, before: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    for job in batch.jobs:
        try:
            with FileLock(output / _LOCKS / f"{job.name}.lock", timeout=0):
                results = read_results(output)
                if is_done(job, results) or results.get(job.name) != before.get(job.name):
                    continue
                with _attempt(output / _LOCKS / f"{job.name}.started", job) as number:
                    result = worker.run(job) if number <= ATTEMPTS else _killed(job)
                    _append(output / RESULTS, result)
        except Timeout:
            continue  # another process runs it
        yield result


@contextmanager
def _attempt(mark: Path, job: Job) -> Iterator[int]:
    """Yield the number of this attempt at a job, from 1; a mark on disk counts those that died.

    The mark is removed at the end of the block, in whatever way it ends, unless the process dies.
    """
    earlier = 0
    with suppress(OSError, ValueError):
        key, _, count = mark.read_text(encoding="utf-8").partition(" ")
        earlier = int(count) if key == job.key else 0
    try:
        mark.write_text(f"{job.key} {earlier + 1}", encoding="utf-8")
    except OSError as error:
        raise SA3DError(f"cannot write {mark}: {error.strerror or error}") from error
    try:
        yield earlier + 1
    finally:
        mark.unlink(missing_ok=True)


def _killed(job: Job) -> dict[str, Any]:
    """Return the result of a job whose worker was killed at every attempt."""
    return {
        **_result(job),
        "status": "failed",
        "error": f"its process was killed {ATTEMPTS} times, which happens if memory is short: give "
        "fewer workers, or smaller settings; run the batch again to try once more",
        "seconds": 0.0,
        **_signature(),
    }


def _result(job: Job) -> dict[str, Any]:
    return {"job": job.name, "scene": job.scene, "key": job.key}


def _signature() -> dict[str, Any]:
    return {
        "worker": int(os.environ.get("RANK", 0)),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def read_results(output: Path, most: int | None = None) -> dict[str, dict[str, Any]]:
    """Return the last result of every job by its name; skips lines that are cut short.

    Args:
        output: the folder of all results.
        most: number of results that are read, the oldest; None: all.
    """
    return {result["job"]: result for result in islice(_lines(output), most)}


def count_results(output: Path) -> int:
    """Return the number of results that were ever written to a folder."""
    return sum(1 for _ in _lines(output))


def _lines(output: Path) -> Iterator[dict[str, Any]]:
    """Yield all results that were ever written to a folder, in their order."""
    path = output / RESULTS
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            result = parse_json(line)
            hash(result["job"])
        except (ValueError, LookupError, TypeError):
            continue
        yield result


def is_done(job: Job, results: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether a job was finished, and has not changed in the file since."""
    result = results.get(job.name, {})
    return result.get("status") == "done" and result.get("key") == job.key


class _Worker:
    """One process at work; keeps the last job's scene open, and segmenters and detectors loaded."""

    def __init__(
        self,
        batch: Batch,
        output: Path,
        device: Literal["auto", "cpu", "cuda"],
        watch: Watch | None,
    ) -> None:
        self._batch, self._output, self._watch = batch, output, watch
        self._device: Literal["auto", "cpu", "cuda"] = device
        self._opened: tuple[Any, OpenScene] | None = None
        self._models: Models | None = None

    def run(self, job: Job) -> dict[str, Any]:
        """Run one job and return its result; errors become results, too."""
        started = time.perf_counter()
        result = _result(job)
        try:
            result |= self._results(job)
        except SA3DError as error:
            result |= {"status": "failed", "error": _in_a_line(str(error))}
        except Exception as error:  # whatever it is, the other jobs run
            last = traceback.format_exc().splitlines()[-_TRACEBACK_LINES:]
            result |= {"status": "failed", "error": repr(error), "traceback": last}
        result["seconds"] = round(time.perf_counter() - started, 2)
        return result | _signature()

    def _results(self, job: Job) -> dict[str, Any]:
        """Segment, save and export a job; return its result."""
        stages: dict[str, float] = {}
        with self._watch(job) if self._watch else nullcontext() as progress:
            opened, failed = self._segmented(job, stages, progress)
        folder = self._output / job.name
        remove_partial(folder)
        with _timed(stages, "write"):
            report = opened.save(folder / SEGMENTATION, overwrite=True)
            exports = self._exported(job, opened, folder)
        objects = {
            one["name"]: {key: one[key] for key in ("converged", "verdict")}
            | {"rounds": len(one["rounds"])}
            for one in report["objects"]
        }
        outcome = {"status": "done"}
        if failed:
            outcome = {"status": "partly done", "error": _in_a_line("; ".join(failed.values()))}
        return outcome | {
            "segmentation": str(folder / SEGMENTATION),
            "segmenter": opened.settings.segmenter,
            "objects": objects,
            "exports": exports,
            "stages": stages,
        }

    def _segmented(
        self, job: Job, stages: dict[str, float], progress: Progress | None
    ) -> tuple[OpenScene, dict[str, str]]:
        """Return the job's scene with its objects segmented, and the problems of those that failed.

        Raises:
            SA3DError: no object is segmented.
        """
        with _timed(stages, "prepare"):
            opened = self._open(job)
            opened.scene.cache.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{opened.scene.cache}.lock"):  # other processes wait, then only read
                opened.prepare(progress)
        with _timed(stages, "segment"):
            failed: dict[str, str] = {}
            if job.prompts:
                _, failed = opened.segment_apart(job.prompts, job.detector, progress=progress)
                if not opened.objects:
                    raise ObjectsFailedError(failed)
            else:
                opened.segment_everything(progress=progress)
        return opened, failed

    def _exported(self, job: Job, opened: OpenScene, folder: Path) -> list[dict[str, Any]]:
        """Write the job's exports, and remove those that only earlier runs made.

        Returns:
            A report of each, as JSON.
        """
        made = replace(opened.export_source, folder=folder / SEGMENTATION)
        exports: list[dict[str, Any]] = []
        there = made.segmentation.objects
        for entry in job.exports:
            export = entry.below(folder, job.name)
            names = [name for name in entry.objects or there if name in there]
            if not names:
                continue  # they failed
            written = list(export.write(made, names))
            places = [path for one in written for path in written_places(one.place, folder)]
            exports.append(
                {"output": str(export.output), "places": places, **export.report(written)}
            )
        earlier = [one for one in _lines(self._output) if one["job"] == job.name]
        remove_places(folder, _places(earlier), _places([{"exports": exports}]))
        return exports

    def _open(self, job: Job) -> OpenScene:
        """Return the job's scene without objects."""
        key = (job.scene, asdict(job.settings.prepare))
        if self._opened is None or self._opened[0] != key:
            self._opened = None  # frees the last scene before the next one is read
            entry = self._batch.scenes[job.scene]
            opened = open_run(
                entry.load_config,
                job.settings,
                data=entry.data,
                cache_dir=entry.cache_dir,
                device=self._device,
                models=self._models,
            )
            self._opened = (key, opened)
        last = self._opened[1]
        self._models = last.models
        return OpenScene(
            last.run,
            last.scene,
            job.settings,
            last.device,
            cache_dir=last.cache_dir,
            models=last.models,
        )


def _in_a_line(text: str) -> str:
    return " ".join(text.split())


def _places(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return all paths in results, relative to the job's folder."""
    exports = [export for result in results for export in result.get("exports", ())]
    return [place for export in exports for place in export.get("places", ())]


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    stages[name] = round(time.perf_counter() - started, 2)


def _append(path: Path, result: Mapping[str, Any]) -> None:
    """Append a line by a single write, so that lines of several processes never mix.

    Raises:
        SA3DError: the file cannot be written.
    """
    text = json.dumps(result, default=str) + "\n"
    try:
        with path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a killed process left half a line
                    text = "\n" + text
            file.write(text.encode())
    except OSError as error:
        raise SA3DError(f"cannot write {path}: {error.strerror or error}") from error
