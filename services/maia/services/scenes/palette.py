"""Which RGB values the colour names stand for.

Things are painted in full colours, backgrounds in pale tones of theirs. So a thing is told from its background by
colour alone, whatever the two are called, and its pattern (white) from that of the background (a second tone).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from maia.services.scenes.scene import Colour

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maia.services.scenes.scene import Background

Rgb: TypeAlias = tuple[int, int, int]

PAINT: Final[Mapping[Colour, Rgb]] = {
    Colour.RED: (222, 45, 38),
    Colour.ORANGE: (247, 134, 22),
    Colour.YELLOW: (250, 208, 30),
    Colour.GREEN: (44, 150, 66),
    Colour.CYAN: (34, 190, 205),
    Colour.BLUE: (36, 84, 205),
    Colour.PURPLE: (125, 60, 170),
    Colour.PINK: (245, 105, 180),
    Colour.BROWN: (126, 76, 42),
    Colour.BLACK: (26, 26, 30),
}
"""What things are painted with; exactly the `THING_COLOURS`."""

PATTERN: Final[Rgb] = (255, 255, 255)
"""The second colour of every textured thing."""

_PAPER: Final[Rgb] = (244, 240, 232)  # what paint is thinned with

# Colours whose tones are not thinned paint: thin black would be grey, and white must stay apart from PATTERN.
_OWN_TONES: Final[Mapping[Colour, tuple[Rgb, Rgb]]] = {
    Colour.BLACK: ((92, 94, 100), (120, 122, 128)),
    Colour.WHITE: ((240, 236, 226), (212, 208, 198)),
    Colour.GREY: ((172, 175, 180), (200, 203, 208)),
}


def tones(colour: Colour) -> tuple[Rgb, Rgb]:
    """Return the first and second tone of a background; a plain one shows the first alone."""
    own = _OWN_TONES.get(colour)
    return own or (_mix(PAINT[colour], _PAPER, 0.45), _mix(PAINT[colour], _PAPER, 0.22))


def shaded_tones(background: Background) -> tuple[Rgb, Rgb]:
    """Return both tones of a background in its own shade: up to 8 % brighter or darker for grey, 3 % for the others."""
    factor = 1.0 + background.shade * (0.08 if background.colour is Colour.GREY else 0.03)
    first, second = tones(background.colour)
    return _scale(first, factor), _scale(second, factor)


def _mix(paint: Rgb, paper: Rgb, share: float) -> Rgb:
    red, green, blue = (round(share * p + (1.0 - share) * q) for p, q in zip(paint, paper, strict=True))
    return red, green, blue


def _scale(tone: Rgb, factor: float) -> Rgb:
    red, green, blue = (min(255, round(channel * factor)) for channel in tone)
    return red, green, blue
