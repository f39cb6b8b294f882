"""Adapts Nerfstudio to ``sa3d``: opens trained runs, trains and shows segmentations."""

import os

# Importing Nerfstudio calls torch.compile, which starts worker processes that cost seconds of CPU
# time; nothing here is compiled. Torch reads this when it is imported.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
