"""The one exception type users meet: it names the problem and the remedy."""

from __future__ import annotations


class SA3DError(Exception):
    """A problem the user can fix: bad input, a missing file, a stale cache.

    The command line prints it as one line and exits with code 2.
    """
