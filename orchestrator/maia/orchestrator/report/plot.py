"""Strip plots: the activations of one round as dots on an axis that all rounds share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from maia.orchestrator.report.gallery import Figure
from maia.orchestrator.report.visible import one_line, visible

WIDTH: Final = 420
_MARGIN: Final = 12
_HEIGHT: Final = 30
_TICKS: Final = 4


@dataclass(frozen=True, slots=True)
class Axis:
    """What all strips share.

    Attributes:
        low: Activation at the left end.
        high: Activation at the right end, above `low`.
        step: Between ticks.
        band: Lowest and highest activation of the exemplars; None without exemplars.
    """

    low: float
    high: float
    step: float
    band: tuple[float, float] | None

    def x(self, activation: float) -> float:
        """Return the horizontal place of an activation, in units of the drawing."""
        return round(_MARGIN + (activation - self.low) / (self.high - self.low) * (WIDTH - 2 * _MARGIN), 1)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Round numbers from low to high."""
        first = math.ceil(self.low / self.step - 1e-9)
        last = math.floor(self.high / self.step + 1e-9)
        return tuple(number * self.step for number in range(first, last + 1))


def axis_of(exemplars: Iterable[Figure], measured: Iterable[Figure]) -> Axis | None:
    """Return an axis that holds zero and every activation; None when there is no activation at all."""
    shown = [figure.activation for figure in exemplars if figure.activation is not None]
    values = shown + [figure.activation for figure in measured if figure.activation is not None]
    if not values:
        return None
    low, high = min(0.0, *values), max(0.0, *values)
    if high - low < 1e-6:
        high = low + 1.0
    step = _round_step((high - low) / _TICKS)
    return Axis(
        math.floor(low / step) * step,
        math.ceil(high / step) * step,
        step,
        (min(shown), max(shown)) if shown else None,
    )


def strip(axis: Axis, figures: Sequence[Figure]) -> Markup:
    """Return one round's drawing; each dot names its picture and links to it."""
    parts = [_lines(axis)]
    for figure in figures:
        if figure.activation is None:
            continue
        parts.append(
            Markup(
                '<a href="#{}" data-zoom="{}" aria-label="{}"><circle cx="{}" cy="{}" r="4.5"/><title>{}</title></a>'
            ).format(
                figure.zoom,
                figure.zoom,
                _name(figure),
                axis.x(figure.activation),
                _HEIGHT // 2,
                _name(figure),
            )
        )
    return Markup('<svg class="strip" viewBox="0 0 {} {}" role="group" aria-label="{}">{}</svg>').format(
        WIDTH, _HEIGHT, "activations measured in this round", Markup("").join(parts)
    )


def scale(axis: Axis) -> Markup:
    """Return the axis' numbers, as wide as a strip."""
    numbers = Markup("").join(
        Markup('<text x="{}" y="13" text-anchor="middle">{}</text>').format(axis.x(tick), f"{tick:g}")
        for tick in axis.ticks
    )
    return Markup('<svg class="scale" viewBox="0 0 {} 18" aria-hidden="true">{}</svg>').format(WIDTH, numbers)


def _lines(axis: Axis) -> Markup:
    band = Markup("")
    if axis.band:
        left, right = axis.x(axis.band[0]), axis.x(axis.band[1])
        band = Markup('<rect class="band" x="{}" y="3" width="{}" height="{}" rx="3"/>').format(
            left, max(2.0, round(right - left, 1)), _HEIGHT - 6
        )
    ticks = Markup("").join(
        Markup('<path d="M{0} {1}V{2}"/>').format(axis.x(tick), _HEIGHT // 2 - 4, _HEIGHT // 2 + 4)
        for tick in axis.ticks
    )
    base = Markup('<path d="M{} {}H{}"/>').format(_MARGIN, _HEIGHT // 2, WIDTH - _MARGIN)
    return band + base + ticks


def _name(figure: Figure) -> str:
    return f"{figure.activation:.2f} {one_line(visible(figure.title), 90)}"


def _round_step(raw: float) -> float:
    """Return 1, 2 or 5 times a power of ten, at least `raw`."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= raw * (1 - 1e-9))
