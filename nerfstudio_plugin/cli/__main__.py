"""``python -m nerfstudio_plugin.cli``: the command ``sa3d``."""

import sys

from nerfstudio_plugin.cli import main

sys.exit(main())
