"""Passes of a kernel over a panel, and many of them together: a stretch of symbols after the other.

A column takes less time to work out than to bring from memory. So what is asked for together, the columns and the
conditions that read them, is worked out for as many symbols as the cache holds before the next ones are looked at.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kobe.core.panel import Floats, Panel
from kobe.core.threads import in_parts

if TYPE_CHECKING:
    from kobe.features.table import FeatureTable

STRETCH_ROWS = 1 << 17  # a megabyte of each column; fewer and the calls take longer than they save
Key = tuple[object, ...]


class Pass(NamedTuple):
    """A kernel that fills a float64 column: it takes (first symbol, last, offsets, *inputs, column)."""

    kernel: Any
    inputs: tuple[Any, ...]

    def values(self, panel: Panel) -> Floats:
        """Run it over a whole panel and return the column."""
        out = np.empty(len(panel))
        in_parts(
            len(panel.symbols), len(panel),
            lambda first, last: self.kernel(first, last, panel.offsets, *self.inputs, out),
        )  # fmt: skip
        return out


class Passes:
    """What one feature table is asked for now and works out in `run`; the arrays handed out hold nothing before.

    What the table knows already is handed out as it is, and `run` leaves it everything new.
    """

    def __init__(self, features: "FeatureTable") -> None:
        """Nothing is worked out yet."""
        self.features, self.panel = features, features.panel
        self._work: list[Callable[[int, int], object]] = []
        self._asked: dict[Key, Any] = {}
        self._after: list[Callable[[], object]] = []

    def column(self, name: str, n: int = 1) -> Floats:
        """Return an indicator's column, float64[rows]; one without a pass is worked out at once."""
        key = ("column", name, n)
        if key not in self._asked:
            found = self.features.pass_of(name, n)
            if found is None:
                return self.features.column(name, n)
            values = self._asked[key] = self._filled(found.kernel, found.inputs, np.float64)
            self._after.append(lambda: self.features.keep(name, n, values))
        asked: Floats = self._asked[key]
        return asked

    def marks(self, key: Key, dtype: npt.DTypeLike, kernel: Any, *inputs: Any) -> Any:
        """Return what a kernel marks in every row, dtype[rows]; the key names every parameter it depends on."""
        known = self._asked.get(key, self.features.known(key))
        if known is not None:
            return known
        marked = self._asked[key] = self._filled(kernel, inputs, dtype)
        self._after.append(lambda: self.features.derived(key, lambda: marked))
        return marked

    def rows(self, key: Key, kernel: Any, *inputs: Any) -> Callable[[], tuple[Any, ...]]:
        """Return how to get, after `run`, the arrays that a kernel returns for a part of the symbols, all parts joined.

        Args:
            key: names every parameter it depends on.
            kernel: takes (first symbol, last, offsets, *inputs) and returns arrays, the same number each time.
            inputs: arrays of this panel, also those that `run` has yet to fill.
        """
        if self.features.known(key) is None:
            parts: dict[int, tuple[Any, ...]] = {}

            def find(first: int, last: int) -> None:
                parts[first] = kernel(first, last, self.panel.offsets, *inputs)

            def joined() -> tuple[Any, ...]:
                return tuple(np.concatenate(c) for c in zip(*(parts[k] for k in sorted(parts)), strict=True))

            self._work.append(find)
            self._after.append(lambda: self.features.derived(key, joined))
        return lambda: self.features.known(key)

    def run(self) -> None:
        """Work out everything asked for, in the order of the asking."""
        if self._work:
            count, rows = len(self.panel.symbols), len(self.panel)
            step = 4 * max(1, count * STRETCH_ROWS // max(1, 4 * rows))  # kernels walk four symbols in step
            in_parts(count, rows, lambda first, last: self._stretches(first, last, step))
        for done in self._after:
            done()
        self._work, self._asked, self._after = [], {}, []

    def _stretches(self, first: int, last: int, step: int) -> None:
        for begin in range(first, max(last, first + 1), step):  # no symbols at all are one stretch: of no rows
            for work in self._work:
                work(begin, min(begin + step, last))

    def _filled(self, kernel: Any, inputs: tuple[Any, ...], dtype: npt.DTypeLike) -> Any:
        out = np.empty(len(self.panel), dtype)
        self._work.append(lambda first, last: kernel(first, last, self.panel.offsets, *inputs, out))
        return out
