"""Starts the worker processes of a batch, replaces those that are killed, and ends them with it.

``torch.distributed``'s launcher ends all workers when one dies. Here the others go on: jobs are
independent, and the job that killed its worker is told by the mark it left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

WORKER = "LOCAL_RANK"
"""Environment variable with a worker's number; torch's launchers set the same."""
_PARENT = "SA3D_BATCH_PARENT"
"""Environment variable with the process that a worker ends with."""
BEFORE = "SA3D_BATCH_BEFORE"
"""Environment variable with the number of results that were there when the batch began."""
_LOOK_S = 0.2
"""Seconds between two looks at the processes."""


def run_workers(
    line: Sequence[str],
    count: int,
    replacements: int,
    before: int,
    say: Callable[[str], None],
) -> None:
    """Run worker processes until they end by themselves; start another one for each that is killed.

    If this process is interrupted, or raises SystemExit, the workers get the same signal.

    Args:
        line: the command of a worker.
        count: number of workers.
        replacements: number of workers that are started in place of killed ones, at most.
        before: results that are there now; a worker that comes later takes no others for old.
        say: called with a sentence about each that was killed.
    """
    processes = {number: _start(line, number, before) for number in range(count)}
    try:
        while processes:
            time.sleep(_LOOK_S)
            for number, process in list(processes.items()):
                code = process.poll()
                if code is None:
                    continue
                del processes[number]
                if code >= 0:
                    continue
                say(f"worker {number} was killed ({signal.strsignal(-code)})")
                if replacements:
                    replacements -= 1
                    processes[number] = _start(line, number, before)
    except (KeyboardInterrupt, SystemExit) as stop:
        interrupted = isinstance(stop, KeyboardInterrupt)
        for process in processes.values():
            process.send_signal(signal.SIGINT if interrupted else signal.SIGTERM)
        for process in processes.values():
            process.wait()
        raise


def end_with_parent() -> None:
    """End this worker when the process that started it is gone, in whatever way that ended."""
    parent = os.environ.get(_PARENT)
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="sa3d watch", daemon=True).start()


def _start(line: Sequence[str], number: int, before: int) -> subprocess.Popen[bytes]:
    environment = {
        "OMP_NUM_THREADS": "1",  # busy processes hinder each other with more
        **os.environ,
        WORKER: str(number),
        "RANK": str(number),
        BEFORE: str(before),
        _PARENT: str(os.getpid()),
    }
    # A signal to this group of processes reaches the workers through run_workers only.
    return subprocess.Popen(line, env=environment, start_new_session=True)
