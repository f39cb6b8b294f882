"""``sa3d batch``: many jobs from a file, in one process or several."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from nerfstudio_plugin.batch.workers import WORKER, end_with_parent
from nerfstudio_plugin.cli.options import parse
from nerfstudio_plugin.cli.terminal import ERR, OUT, EventBar, event_bar
from sa3d.base.errors import SA3DError

if TYPE_CHECKING:
    from nerfstudio_plugin.batch.jobs_file import Batch, Job

_HELP = """Run many jobs without a screen: scenes and objects from a file, files as results.

The other jobs run even if one fails, or kills its process for lack of memory. To continue after a
stop, give the same command again: failed and unfinished jobs run again, finished ones do not.
Writes <output>/<job>/segmentation and the job's exports, and a line of JSON per job to
<output>/results.jsonl. Exit code: 0 all jobs are done, 1 some are not, 2 the file is wrong (no job
is run then).

examples:
  sa3d batch jobs.json --output results
  sa3d batch jobs.json --output results --workers 2        (processes; each takes a GPU of its own)
  sa3d batch jobs.json --output results --check            (only check the file)

jobs.json (docs/batch.md has all of it):
  {"version": 1,
   "defaults": {"segmenter": "graphcut"},
   "scenes": {"kitchen": {"load_config": "outputs/kitchen/nerfacto/RUN/config.yml"}},
   "jobs": [
     {"name": "mug", "scene": "kitchen",
      "prompts": [{"object": "mug", "view": "000021.jpg", "points": [[99, 159]]}],
      "exports": [{"output": "mug.glb"}, {"output": "masks", "options": {"layout": "rgba"}}]},
     {"name": "all", "scene": "kitchen", "everything": true}]}
"""

_PROGRAM = ("-m", "nerfstudio_plugin.cli")
"""Arguments that make Python a worker."""


@dataclass(kw_only=True)
class BatchCommand:
    """Run many jobs."""

    jobs: Annotated[Path, tyro.conf.Positional]
    """The file of jobs, JSON."""
    output: Path
    """Folder for all results."""
    workers: int = 1
    """Processes that share the jobs. A job that kills its worker runs once more, in another one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    check: bool = False
    """Only check the file, and whether the runs and masks it names are there; run no job."""


def main(arguments: Sequence[str]) -> int:
    """Run ``sa3d batch``.

    Returns:
        0: all jobs are done; 1: some are not.

    Raises:
        SA3DError: the file is wrong.
    """
    # Errors name keys of the file, not options of this command.
    return _run(parse(BatchCommand, arguments, "sa3d batch", _HELP))


def _run(command: BatchCommand) -> int:
    if command.workers < 1:
        raise SA3DError(f"--workers must be at least 1, is {command.workers}")
    from nerfstudio_plugin.batch.jobs_file import read_batch
    from nerfstudio_plugin.batch.runner import is_done, read_results

    batch = read_batch(command.jobs)
    if command.check:
        if absent := batch.absent_files():
            raise SA3DError(f"{command.jobs} names missing files: {', '.join(map(str, absent))}")
        OUT.print(f"{command.jobs}: {len(batch.jobs)} jobs in {len(batch.scenes)} scenes")
        return 0
    if WORKER in os.environ:
        end_with_parent()
        with _exit_at(signal.SIGTERM):
            _work(command, batch)
        return 0  # a failed job is no failed worker
    before = read_results(command.output)
    for job in batch.jobs:
        if is_done(job, before):
            OUT.print(f"{job.name}: done before")
    if command.workers > 1:
        _launch(command, len(batch.jobs))
    else:
        _work(command, batch)
    return _print_outcome(command, batch)


def _work(command: BatchCommand, batch: Batch) -> None:
    """Run the jobs that no other worker runs."""
    import torch

    from nerfstudio_plugin.batch.runner import run_batch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get(WORKER, 0)) % torch.cuda.device_count())
    watch = None if WORKER in os.environ else _bar  # workers' bars would overwrite each other
    for result in run_batch(batch, command.output, command.device, watch):
        OUT.print(_result_line(result))


def _bar(job: Job) -> AbstractContextManager[EventBar]:
    return event_bar(f"{job.name}: ")


def _launch(command: BatchCommand, jobs: int) -> None:
    """Start workers and wait for them; they print their results themselves.

    If this process is stopped, it stops the workers first; if it is killed, they end by themselves.
    """
    from nerfstudio_plugin.batch.runner import ATTEMPTS, count_results
    from nerfstudio_plugin.batch.workers import run_workers

    arguments = ("batch", str(command.jobs), "--output", str(command.output))
    line = [sys.executable, *_PROGRAM, *arguments, "--device", command.device]
    before = count_results(command.output)
    with _exit_at(signal.SIGTERM), _exit_at(signal.SIGHUP):
        run_workers(line, command.workers, ATTEMPTS * jobs, before, ERR.print)


@contextmanager
def _exit_at(number: signal.Signals) -> Iterator[None]:
    """Make a signal that ends the program raise SystemExit with the same exit code."""

    def stop(*_: object) -> None:
        raise SystemExit(128 + number)

    before = signal.getsignal(number)
    if before is signal.SIG_DFL:
        signal.signal(number, stop)
    try:
        yield
    finally:
        signal.signal(number, before)


def _print_outcome(command: BatchCommand, batch: Batch) -> int:
    """Print how many jobs are done, and return the exit code."""
    from nerfstudio_plugin.batch.jobs_file import RESULTS
    from nerfstudio_plugin.batch.runner import is_done, read_results

    results = read_results(command.output)
    left = [job.name for job in batch.jobs if not is_done(job, results)]
    done = len(batch.jobs) - len(left)
    OUT.print(f"{done} of {len(batch.jobs)} jobs done: {command.output / RESULTS}")
    if left:
        ERR.print(f"not done: {', '.join(left)}")
    return 1 if left else 0


def _result_line(result: dict[str, Any]) -> str:
    if "error" in result:
        how = "FAILED" if result["status"] == "failed" else result["status"].upper()
        return f"{result['job']}: {how}: {result['error']}"
    verdicts = "; ".join(f"{name}: {one['verdict']}" for name, one in result["objects"].items())
    return f"{result['job']}: {result['seconds']:.1f} s, {verdicts}"
