"""Runs the jobs of a batch: each once, whatever fails or is killed, by any number of processes.

What is done is a line in ``results.jsonl``, added when all of a job lies in its folder: so a job
that was killed half way is run again, and one that is finished is not. Processes share the jobs by
locks that the system lets go of when their holder dies.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from nerfstudio_plugin.api.models import Models
from nerfstudio_plugin.api.open_scene import OpenScene, Progress
from nerfstudio_plugin.api.opening import open as open_run
from nerfstudio_plugin.batch.jobs_file import RESULTS, SEGMENTATION, Batch, Job
from nerfstudio_plugin.batch.outputs import remove_partial, remove_places, written_places
from sa3d.base.errors import SA3DError

_LOCKS = ".locks"
_TRACEBACK_LINES = 12

Watch = Callable[[Job], AbstractContextManager[Progress]]
"""Entered while a job is prepared and segmented; gives who is told its events."""


def run_batch(
    batch: Batch,
    output: Path,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    watch: Watch | None = None,
) -> Iterator[dict[str, Any]]:
    """Run all jobs that are not done and that no other process is at; yield their results.

    What another process has tried since this one began is left as it is, failed or not.

    Args:
        output: folder for ``<job>/`` and ``results.jsonl``.
        watch: who is told how each job goes.

    Raises:
        SA3DError: the folder cannot be written to.
    """
    try:
        (output / _LOCKS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SA3DError(f"cannot write to {output}: {error.strerror}") from error
    return _run(batch, output, _Worker(batch, output, device, watch), read_results(output))


def _run(
    batch: Batch, output: Path, worker: _Worker, before: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    for job in batch.jobs:
        try:
            with FileLock(output / _LOCKS / f"{job.name}.lock", timeout=0):
                now = read_results(output)
                if is_done(job, now) or now.get(job.name) != before.get(job.name):
                    continue
                result = worker.run(job)
                _append(output / RESULTS, result)
        except Timeout:
            continue  # another process is at it
        yield result


def read_results(output: Path) -> dict[str, dict[str, Any]]:
    """The last result of every job, by its name; what was half written is passed over."""
    return {result["job"]: result for result in _lines(output)}


def _lines(output: Path) -> Iterator[dict[str, Any]]:
    """All results ever written there, in their order."""
    path = output / RESULTS
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            result = json.loads(line)
            hash(result["job"])
        except (ValueError, LookupError, TypeError):
            continue
        yield result


def is_done(job: Job, results: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a job was finished as it is written now."""
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
        """Run one job; what goes wrong becomes its result."""
        started = time.perf_counter()
        result: dict[str, Any] = {"job": job.name, "scene": job.scene, "key": job.key}
        try:
            result |= {"status": "done", **self._results(job)}
        except SA3DError as error:
            result |= {"status": "failed", "error": " ".join(str(error).split())}
        except Exception as error:  # the other jobs go on, whatever it is
            last = traceback.format_exc().splitlines()[-_TRACEBACK_LINES:]
            result |= {"status": "failed", "error": repr(error), "traceback": last}
        result["seconds"] = round(time.perf_counter() - started, 2)
        result["worker"] = int(os.environ.get("RANK", 0))
        result["finished"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return result

    def _results(self, job: Job) -> dict[str, Any]:
        """Do it, and tell what came out."""
        stages: dict[str, float] = {}
        with self._watch(job) if self._watch else nullcontext() as progress:
            opened = self._segmented(job, stages, progress)
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
        return {
            "segmentation": str(folder / SEGMENTATION),
            "segmenter": opened.settings.segmenter,
            "objects": objects,
            "exports": exports,
            "stages": stages,
        }

    def _segmented(
        self, job: Job, stages: dict[str, float], progress: Progress | None
    ) -> OpenScene:
        """The job's scene with its objects."""
        with _timed(stages, "prepare"):
            opened = self._open(job)
            opened.scene.cache.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{opened.scene.cache}.lock"):  # others wait, and then only read
                opened.prepare(progress)
        with _timed(stages, "segment"):
            if job.prompts:
                prompts, _ = opened.find_words(job.prompts, job.detector, progress=progress)
                opened.segment_prompts(prompts, progress)
            else:
                opened.segment_everything(progress=progress)
        return opened

    def _exported(self, job: Job, opened: OpenScene, folder: Path) -> list[dict[str, Any]]:
        """Write the job's exports, and remove those it made before and does not ask for any more.

        Returns:
            What there is to know of each, as JSON holds it.
        """
        made = replace(opened.export_source, folder=folder / SEGMENTATION)
        exports: list[dict[str, Any]] = []
        for entry in job.exports:
            export = entry.below(folder, job.name)
            written = list(export.write(made, entry.objects or tuple(made.segmentation.objects)))
            places = [path for one in written for path in written_places(one.place, folder)]
            exports.append(
                {"output": str(export.output), "places": places, **export.report(written)}
            )
        earlier = [one for one in _lines(self._output) if one["job"] == job.name]
        remove_places(folder, _places(earlier), _places([{"exports": exports}]))
        return exports

    def _open(self, job: Job) -> OpenScene:
        """The job's scene with no objects in it yet."""
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


def _places(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """All that results say was written, relative to the job's folder."""
    exports = [export for result in results for export in result.get("exports", ())]
    return [place for export in exports for place in export.get("places", ())]


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    stages[name] = round(time.perf_counter() - started, 2)


def _append(path: Path, result: Mapping[str, Any]) -> None:
    """Add a line at once, so that lines of several processes never mix.

    Raises:
        SA3DError: it cannot be written.
    """
    text = json.dumps(result, default=str) + "\n"
    try:
        with path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # half a line of a process that was killed
                    text = "\n" + text
            file.write(text.encode())
    except OSError as error:
        raise SA3DError(f"cannot write {path}: {error.strerror or error}") from error
