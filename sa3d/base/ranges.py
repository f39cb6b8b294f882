"""Checks that settings lie where they make sense."""

from __future__ import annotations

from math import inf

from sa3d.base.errors import SA3DError

SHARE = (0, 1)
NOT_NEGATIVE = (0, inf)


def check_ranges(place: str, config: object, **ranges: tuple[float, float]) -> None:
    """Check values of a config, by name, against the least and the most they may be.

    Args:
        place: what the config is called in files and options, for messages.

    Raises:
        SA3DError: one lies outside, or is no number at all (NaN).
    """
    for name, (least, most) in ranges.items():
        value = getattr(config, name)
        if not least <= value <= most:
            wanted = f"at least {least}" if most == inf else f"between {least} and {most}"
            raise SA3DError(f"{place}.{name} must be {wanted}, is {value}")
