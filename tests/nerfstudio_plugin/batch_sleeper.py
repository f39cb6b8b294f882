"""``sa3d batch`` whose workers only leave their process ids in the output folder, and sleep."""

import os
import signal
import sys
import time
from pathlib import Path

from nerfstudio_plugin.batch.workers import end_with_parent
from nerfstudio_plugin.cli import batch as cli_batch
from nerfstudio_plugin.cli import main

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run behind
    if "LOCAL_RANK" in os.environ:
        output = Path(sys.argv[sys.argv.index("--output") + 1])
        (output / f"{os.getpid()}.pid").touch()
        end_with_parent()
        time.sleep(600)
    cli_batch._PROGRAM = (__file__,)
    sys.exit(main(sys.argv[1:]))
