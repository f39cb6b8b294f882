"""``sa3d batch`` in which the job "kills" kills its process, and "kills_once" does so once."""

import os
import signal
import sys
from pathlib import Path

from nerfstudio_plugin.batch import runner
from nerfstudio_plugin.batch.workers import WORKER
from nerfstudio_plugin.cli import batch as cli_batch
from nerfstudio_plugin.cli import main


def run(self, job):
    """Do nothing, or die."""
    attempts = Path(sys.argv[sys.argv.index("--output") + 1]) / "attempts"
    if job.name.startswith("kills"):
        with attempts.open("a") as file:
            file.write(job.name + "\n")
        first = attempts.read_text().split().count(job.name) == 1
        if first or job.name == "kills":
            os.kill(os.getpid(), signal.SIGKILL)
    return {**runner._result(job), "status": "done", "seconds": 0, "objects": {}}


if __name__ == "__main__":
    if WORKER in os.environ:
        runner._Worker.run = run
    cli_batch._PROGRAM = (__file__,)
    sys.exit(main(sys.argv[1:]))
