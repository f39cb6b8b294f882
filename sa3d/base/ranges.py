"""Range checks for settings."""

from __future__ import annotations

from math import inf

from sa3d.base.errors import SA3DError

SHARE = (0, 1)
NOT_NEGATIVE = (0, inf)


def check_ranges(place: str, config: object, **ranges: tuple[float, float]) -> None:
    """Check that values of a config lie in their ranges.

    Args:
        place: the config's name in settings files, for messages.
        config: the config.
        **ranges: smallest and largest allowed value of each field, by name.

    Raises:
        SA3DError: a value lies outside its range or is NaN.

    Example:
        >>> check_ranges("loop", config, held_out_share=SHARE, neighbours=NOT_NEGATIVE)
    """
    for name, (least, most) in ranges.items():
        value = getattr(config, name)
        if not least <= value <= most:
            wanted = f"at least {least}" if most == inf else f"between {least} and {most}"
            raise SA3DError(f"'{place}.{name}' must be {wanted}, is {value}")
