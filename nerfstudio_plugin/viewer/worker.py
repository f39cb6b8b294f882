"""One thread for all that takes time, so that the viewer never waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Job = Callable[[], None]


class Worker:
    """Runs jobs one after the other, in the order they came; jobs do not raise.

    In a thread of its own after ``start``; before, whoever calls ``run_pending`` runs them,
    such as a trainer between two of its steps.
    """

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._running = False
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> None:
        """Run a job when those before it are done."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    @property
    def waiting(self) -> bool:
        """Whether jobs wait: a long one should make room."""
        return bool(self._jobs)

    def run_pending(self) -> bool:
        """Run all jobs that wait, in the caller's thread; False if there was none."""
        any_ran = False
        while (job := self._next(wait=False)) is not None:
            any_ran = True
            self._run(job)
        return any_ran

    def start(self) -> None:
        """Run jobs in a thread of their own from now on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="sa3d worker", daemon=True)
            self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait until no job runs or waits; False if there are some after ``timeout_s``."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and not self._running, timeout_s)

    def _work(self) -> None:
        while (job := self._next(wait=True)) is not None:
            self._run(job)

    def _next(self, *, wait: bool) -> Job | None:
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: bool(self._jobs))
            if not self._jobs:
                return None
            self._running = True
            return self._jobs.popleft()

    def _run(self, job: Job) -> None:
        try:
            job()
        finally:
            with self._changed:
                self._running = False
                self._changed.notify_all()
