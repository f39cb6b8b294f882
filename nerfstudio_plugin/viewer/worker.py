"""One thread for all slow work, so that the viewer stays responsive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, Queue

Job = Callable[[], None]


class Worker:
    """Runs jobs one after the other, in the order they were submitted; jobs must not raise.

    After ``start`` a thread of the worker's own runs them. Before, ``run_pending`` runs them in the
    thread that calls it, such as a trainer's between two of its steps.

    ``ThreadPoolExecutor(1)`` cannot run jobs in the caller's thread, and Python joins its thread at
    exit: Ctrl-C would wait for the running job (5 s for a job of 5 s; 0.05 s with this thread).
    """

    def __init__(self) -> None:
        self._jobs: Queue[Job] = Queue()
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> None:
        """Run a job after those submitted before it."""
        self._jobs.put(job)

    @property
    def waiting(self) -> bool:
        """True if a job waits for the running one, which should pause if it is long."""
        return not self._jobs.empty()

    def run_pending(self) -> bool:
        """Run all waiting jobs in the caller's thread; return False if there was none."""
        any_ran = False
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return any_ran
            any_ran = True
            self._run(job)

    def start(self) -> None:
        """Run jobs in a thread of the worker's own from now on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="sa3d worker", daemon=True)
            self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait until no job runs or waits; return False if ``timeout_s`` passes before."""
        done = self._jobs.all_tasks_done
        with done:
            return done.wait_for(lambda: not self._jobs.unfinished_tasks, timeout_s)

    def _work(self) -> None:
        while True:
            self._run(self._jobs.get())

    def _run(self, job: Job) -> None:
        try:
            job()
        finally:
            self._jobs.task_done()
