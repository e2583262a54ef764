"""Line charts of an entry's page: geometry made here, drawn as SVG by `entry.html`, which has a page's colours."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

# Of the whole drawing, and of the margins that its axes' numbers need.
WIDTH, HEIGHT = 420, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 14, 12, 44

# Rates of the axes of a detection error tradeoff that may be labelled.
_RATES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95)

_LARGEST = 1e300

# How much of an axis a number on it takes.
_NUMBER = 0.065

# To how much of a drawing's width a point is told apart from the one before.
_RESOLUTION = 1 / 300


class Axis(NamedTuple):
    """From `low` to `high` on a scale, with the values that are labelled."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    scale: Callable[[np.ndarray], np.ndarray] = np.asarray

    @classmethod
    def of(cls, title: str, values: Iterable[float], from_zero: bool = False) -> "Axis":
        """One that holds all values, with round numbers on it."""
        # A record may say anything; differences of these are finite.
        values = np.clip(list(values), -_LARGEST, _LARGEST).tolist()
        low, high = min([0.0] * from_zero + values), max(values)
        if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
            low, high = low - (abs(low) / 10 or 0.5), high + (abs(high) / 10 or 0.5)
        step = 10.0 ** math.floor(math.log10((high - low) / 5))
        step *= next(times for times in (1, 2, 5, 10) if (high - low) / (step * times) <= 6)
        ticks = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
        places = max(0, -math.floor(math.log10(step)))
        shape = f",.{places}f" if max(abs(low), abs(high)) < 1e6 else ".3g"
        return cls(title, low, high, [(tick, f"{tick + 0.0:{shape}}") for tick in ticks])

    @classmethod
    def of_rates(cls, title: str, low: float, high: float) -> "Axis":
        """Rates by the normal deviate, on which those of normally distributed scores lie on a line."""
        # Here, since SciPy takes a while to import.
        from scipy.special import ndtri

        axis, ticks = cls(title, low, high, [], ndtri), []
        for rate, share in zip(_RATES, axis.share(_RATES), strict=True):
            if low <= rate <= high and (not ticks or share - axis.share([ticks[-1][0]])[0] >= _NUMBER):
                ticks.append((rate, f"{100 * rate:g}"))
        return axis._replace(ticks=ticks)

    def share(self, values: Iterable[float]) -> np.ndarray:
        """How far along the axis they lie, from 0 to 1; what is outside lies at its end."""
        low, high = self.scale(np.array([self.low, self.high]))
        clipped = np.clip(np.asarray(list(values), dtype=float), self.low, self.high)
        return (self.scale(clipped) - low) / (high - low)


class Line(NamedTuple):
    """A line, or points alone."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


class Mark(NamedTuple):
    """A point that is named."""

    name: str
    x: float
    y: float


class Chart(NamedTuple):
    """What a template draws, all in pixels of the drawing."""

    # What is to be read where the drawing cannot be seen.
    label: str
    x_title: str
    y_title: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    # By line its name, its path, and its points where they are few.
    lines: list[tuple[str, str, list[tuple[float, float, str]]]]
    marks: list[tuple[float, float, str]]
    box: tuple[int, int, int, int] = (_LEFT, _TOP, WIDTH - _RIGHT, HEIGHT - _BOTTOM)


def chart(label: str, x: Axis, y: Axis, lines: Iterable[Line], marks: Iterable[Mark] = ()) -> Chart:
    """Lines on two axes; of points that lie on one another one is drawn."""
    drawn = []
    for line in lines:
        places = _thinned(x.share(line.x), y.share(line.y))
        across, up = (np.asarray(values, dtype=float)[places] for values in (line.x, line.y))
        points = _pixels(x, y, across, up)
        path = " ".join(f"{left:g},{top:g}" for left, top in points)
        few = len(points) <= 40
        named = [
            (left, top, f"{line.name}: {x.title} {one:.4g}, {y.title} {other:.4g}")
            for (left, top), one, other in zip(points, across, up, strict=True)
        ]
        drawn.append((line.name, path, named if few else []))
    return Chart(
        label,
        x.title,
        y.title,
        [(round(_across(share), 1), text) for share, text in _labelled(x)],
        [(round(_down(share), 1), text) for share, text in _labelled(y)],
        drawn,
        [(*_pixels(x, y, [mark.x], [mark.y])[0], mark.name) for mark in marks],
    )


def _thinned(across: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Places of points that can be told apart from those before them, and of the last."""
    cells = np.round(np.stack([across, up]) / _RESOLUTION)
    moved = np.any(np.diff(cells, prepend=np.nan) != 0, axis=0)
    moved[-1:] = True
    return np.flatnonzero(moved)


def _pixels(x: Axis, y: Axis, across: Iterable[float], up: Iterable[float]) -> list[tuple[float, float]]:
    lefts, tops = _across(x.share(across)), _down(y.share(up))
    return list(zip(np.round(lefts, 1).tolist(), np.round(tops, 1).tolist(), strict=True))


def _labelled(axis: Axis) -> list[tuple[float, str]]:
    shares = axis.share(value for value, _ in axis.ticks)
    return [(float(share), text) for share, (_, text) in zip(shares, axis.ticks, strict=True)]


def _across(share: np.ndarray | float) -> np.ndarray | float:
    return _LEFT + share * (WIDTH - _LEFT - _RIGHT)


def _down(share: np.ndarray | float) -> np.ndarray | float:
    return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)
