"""The one exception type that users meet.

Messages name the problem first, then the remedy. The core writes for Python users and never names a
command line option. An option is named by its field:

- without a value, as the field's dotted path in single quotes: ``'cache_dir'``,
  ``'prepare.ray_side'``;
- with a value, as a keyword argument: ``overwrite=True``, ``segmenter='graphcut'``.

So the command line can replace the options in a message by its flags: ``'prepare.ray_side'``
becomes ``--prepare.ray-side``, ``overwrite=True`` becomes ``--overwrite``, and
``segmenter='graphcut'`` becomes ``--segmenter graphcut``.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence


class SA3DError(Exception):
    """A problem that the user can solve: bad input, a missing file, an outdated cache.

    The command line prints the message on one line and exits with code 2.

    Example:
        >>> try:
        ...     scene.view_index("0024.jpg")
        ... except SA3DError as error:
        ...     print(error)
    """


class ObjectsFailedError(SA3DError):
    """Some objects could not be segmented or corrected, and were left as they were before.

    Objects stand alone: all others were finished before this was raised, and are kept.

    Attributes:
        failed: the problem of each object that failed, by name.
        kept: the names of the objects that were finished.
    """

    def __init__(self, failed: Mapping[str, str], kept: Sequence[str] = ()) -> None:
        self.failed, self.kept = dict(failed), tuple(kept)
        text = "; ".join(self.failed.values())
        if self.kept:
            text += f"; the other objects are kept: {', '.join(self.kept)}"
        super().__init__(text)


def shown(value: object) -> str:
    """Return a value as messages show it: its ``repr``, shortened."""
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlevel = 4
