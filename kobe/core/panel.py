"""All bars of all symbols at once, symbol-major and contiguous: what every strategy and the backtest see."""

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from kobe.core.calendar import Calendar
from kobe.core.errors import MissingDataError, SchemaError
from kobe.core.threads import in_parts

HEX_DIGITS = 32
"""How much of a SHA-256 names bars: 128 bits."""
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
PRICE_COLUMNS = ("open", "high", "low", "close")
BAR_COLUMNS = (*PRICE_COLUMNS, "volume")


@dataclass(frozen=True, slots=True)
class Bars:
    """The bars of one symbol: views into a panel, oldest first, nothing copied."""

    symbol: str
    first_row: int
    session: npt.NDArray[np.int32]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.session)


@dataclass(frozen=True)
class Panel:
    """Daily bars of many symbols in one set of read-only arrays.

    Symbol k occupies rows `offsets[k]` to `offsets[k + 1]`, oldest first. Prices are split-adjusted dollars,
    volume is adjusted shares; `raw_factor` turns a price into the price that was on the tape that day
    (raw = price * factor, raw volume = volume / factor). No NaN anywhere: bad bars never get this far.

    Attributes:
        symbols: in ascending order.
        offsets: int64[n_symbols + 1], row borders.
        session: int32[rows], session number of each bar (index into the calendar).
        open, high, low, close, volume, raw_factor: float64[rows].
        tradable: bool[rows], False where the symbol is on hold or not in the universe that session: the bar feeds
            indicators and marks positions, but no signal may rest on it. Default: True everywhere.
        final_loss: float64[n_symbols], fraction of the last price lost when the symbol stops trading, NaN: unknown.
        dividend: float64[rows], cash paid on a share held before the session's open, adjusted dollars per adjusted
            share; 0 where there is none, and everywhere in `total-return` prices, which hold them already. Known at
            the open of its session, the ex-date. Default: 0 everywhere.
        calendar: what the session numbers count.
        source: where the bars came from; `synthetic` marks made-up markets in every report.
        feed: which tape the volume counts (`consolidated`, `iex`, ...).
        adjustment: `split`, `raw` or `total-return`.
        universe: `static-current` (survivorship-biased) or `point-in-time`.
        let_go: gives back the memory of columns that lie in a mapped file; what is asked for again is read again.
    """

    symbols: tuple[str, ...]
    offsets: npt.NDArray[np.int64]
    session: npt.NDArray[np.int32]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    raw_factor: Floats
    calendar: Calendar = field(repr=False)
    tradable: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_), repr=False)
    final_loss: Floats = field(default_factory=lambda: np.empty(0), repr=False)
    dividend: Floats = field(default_factory=lambda: np.empty(0), repr=False)
    source: str = "unknown"
    feed: str = "consolidated"
    adjustment: str = "split"
    universe: str = "static-current"
    let_go: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        rows = len(self.session)
        columns = {name: getattr(self, name) for name in (*BAR_COLUMNS, "raw_factor")}
        for name, column in columns.items():
            if column.dtype != np.float64 or column.shape != (rows,):
                raise SchemaError("a panel column has the wrong shape", seen=(name, column.dtype, column.shape))
            column.flags.writeable = False
        self._fill("tradable", np.ones(rows, dtype=np.bool_))
        self._fill("final_loss", np.full(len(self.symbols), np.nan))
        self._fill("dividend", np.zeros(rows))
        if len(self.offsets) != len(self.symbols) + 1 or self.offsets[-1] != rows or self.offsets[0] != 0:
            raise SchemaError("a panel's offsets do not match its symbols", seen=len(self.offsets))
        if any(a >= b for a, b in pairwise(self.symbols)):
            raise SchemaError("a panel's symbols must ascend without repeats", seen=self.symbols[:5])
        self.session.flags.writeable = False
        self.offsets.flags.writeable = False
        if rows:  # how a symbol ended is known once a session has passed without it
            gone = self.session[self.offsets[1:] - 1] < self.last_session
            object.__setattr__(self, "final_loss", np.where(gone, self.final_loss, np.nan))

    def _fill(self, name: str, default: npt.NDArray[Any]) -> None:
        given = getattr(self, name)
        if given.size == 0:
            object.__setattr__(self, name, default)
        elif given.shape != default.shape or given.dtype != default.dtype:
            raise SchemaError("a panel column has the wrong shape", seen=(name, given.dtype, given.shape))
        getattr(self, name).flags.writeable = False

    def __len__(self) -> int:
        return len(self.session)

    def __iter__(self) -> Iterator[Bars]:
        return (self._bars(k) for k in range(len(self.symbols)))

    def __getitem__(self, symbol: str) -> Bars:
        return self._bars(self.position(symbol))

    def position(self, symbol: str) -> int:
        """Return the index of a symbol.

        Raises:
            MissingDataError: the panel does not hold it.
        """
        k = bisect_left(self.symbols, symbol)
        if k == len(self.symbols) or self.symbols[k] != symbol:
            raise MissingDataError(
                "unknown symbol", seen=symbol, expected=f"one of the {len(self.symbols)} in the store",
                next_command="kobe data status",
            )  # fmt: skip
        return k

    def _bars(self, k: int) -> Bars:
        rows = slice(int(self.offsets[k]), int(self.offsets[k + 1]))
        arrays = {name: getattr(self, name)[rows] for name in BAR_COLUMNS}
        return Bars(self.symbols[k], rows.start, self.session[rows], **arrays)

    @property
    def is_synthetic(self) -> bool:
        """Whether these bars were made up; every output made from them says so."""
        return self.source == "synthetic"

    @property
    def banners(self) -> tuple[str, ...]:
        """Warnings that every report made from these bars must print (DOMAIN D14, 10.21)."""
        found = ["SYNTHETIC market: made-up bars, no evidence about any real one"] if self.is_synthetic else []
        if self.universe != "point-in-time":
            found.append(f"UNIVERSE BIAS: {self.universe}")
        if self.feed != "consolidated":
            found.append(f"FEED: {self.feed} volume is a part of the tape")
        return tuple(found)

    @cached_property
    def symbol_of_row(self) -> npt.NDArray[np.int32]:
        """Symbol index of every row, int32[rows]."""
        return np.repeat(np.arange(len(self.symbols), dtype=np.int32), np.diff(self.offsets))

    @cached_property
    def pays(self) -> bool:
        """Whether any row carries a dividend; where none does, nothing is spent on them."""
        return bool(self.dividend.any())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything a result can depend on; equal bars have equal digests wherever they came from."""
        hasher = hashlib.sha256()
        meta = (self.symbols, self.source, self.feed, self.adjustment, self.universe, self.calendar.digest, self.pays)
        hasher.update(repr(meta).encode())
        hasher.update("".join(self.symbol_digests).encode())
        hasher.update(np.ascontiguousarray(self.final_loss).data)
        return hasher.hexdigest()[:HEX_DIGITS]

    @cached_property
    def symbol_digests(self) -> tuple[str, ...]:
        """SHA-256 of each symbol's bars as far as this panel holds them, in the order of the symbols."""
        names = ("session", *BAR_COLUMNS, "raw_factor", "tradable", *(("dividend",) if self.pays else ()))
        columns = [np.ascontiguousarray(getattr(self, name)) for name in names]
        borders = self.offsets.tolist()
        found = [""] * len(self.symbols)

        def hashed(first: int, last: int) -> None:
            for k in range(first, last):
                hasher = hashlib.sha256()
                for column in columns:
                    hasher.update(column[borders[k] : borders[k + 1]].data)
                found[k] = hasher.hexdigest()[:HEX_DIGITS]

        in_parts(len(found), len(self) * len(columns), hashed)
        return tuple(found)

    def digests_by_symbol(self) -> dict[str, str]:
        """Return, per symbol, a digest of its bars as far as this panel holds them."""
        return dict(zip(self.symbols, self.symbol_digests, strict=True))

    def digests_by_session(self) -> dict[int, str]:
        """Return, per session with bars, a digest of all bars up to and including it.

        Chained session by session and by symbol name, so that later bars and later listings change no earlier one.
        """
        order = np.argsort(self.session, kind="stable")
        names = [hashlib.blake2b(s.encode(), digest_size=8).digest() for s in self.symbols]
        of_row = np.frombuffer(b"".join(names), dtype=np.uint64)[self.symbol_of_row[order]] if len(self) else order
        days = self.calendar.days[self.session[order]]
        columns = [days, of_row, *(getattr(self, name)[order] for name in (*BAR_COLUMNS, "raw_factor", "tradable"))]
        paid = self.dividend[order] if self.pays else np.empty(0)
        sessions, starts = np.unique(self.session[order], return_index=True)
        borders = [*starts.tolist(), len(order)]
        hasher = hashlib.sha256(repr((self.source, self.feed, self.adjustment)).encode())
        found = {}
        for k, session in enumerate(sessions.tolist()):
            for column in columns:
                hasher.update(column[borders[k] : borders[k + 1]].data)
            today = paid[borders[k] : borders[k + 1]]
            if today.any():
                hasher.update(b"dividend")
                hasher.update(today.data)
            found[session] = hasher.hexdigest()[:HEX_DIGITS]
        return found

    @cached_property
    def last_session(self) -> int:
        """Session number of the newest bar of any symbol."""
        return int(self.session.max()) if len(self) else -1

    @cached_property
    def first_session(self) -> int:
        """Session number of the oldest bar of any symbol."""
        return int(self.session.min()) if len(self) else -1

    def rows_at(self, session: int) -> npt.NDArray[np.int64]:
        """Return the row of every symbol that has a bar in a session, in symbol order."""
        return np.flatnonzero(self.session == session)

    def until(self, session: int) -> "Panel":
        """Cut the future off: a panel that holds no bar after a session, and no symbol without bars.

        The last cut is kept: all the jobs of a morning ask for the same one.
        """
        if session >= self.last_session:
            return self
        kept: tuple[int, Panel] | None = self.__dict__.get("_kept_cut")
        if kept is None or kept[0] != session:
            if kept is not None:
                kept[1].__dict__.pop("_tables", None)  # they hold the panel that holds them: gone at once, not in time
            starts, ends = self.offsets[:-1], self.offsets[1:]
            last = np.int32(session)  # a plain int would have every column copied to its own width first
            stops = [a + int(np.searchsorted(self.session[a:b], last, "right")) for a, b in pairwise(self.offsets)]
            kept = session, self._between(starts, np.minimum(np.array(stops, dtype=np.int64), ends))
            self.__dict__["_kept_cut"] = kept
            if self.let_go is not None:
                self.let_go()  # a past session needs its own copy of the bars alone
        return kept[1]

    def select(self, symbols: set[str]) -> "Panel":
        """Keep only some symbols."""
        starts = self.offsets[:-1]
        wanted = np.array([s in symbols for s in self.symbols], dtype=np.bool_)
        return self._between(starts, np.where(wanted, self.offsets[1:], starts))

    def _between(self, starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]) -> "Panel":
        """Keep the rows from start to stop of every symbol, and the symbols that have any."""
        counts = stops - starts
        present = np.flatnonzero(counts)
        whole = counts == np.diff(self.offsets)  # how a symbol ended is not known while bars of it are cut off
        offsets = np.concatenate(([0], np.cumsum(counts[present]))).astype(np.int64)

        def kept(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
            parts = [column[starts[k] : stops[k]] for k in present]
            return np.concatenate(parts) if parts else column[:0].copy()

        columns: dict[str, Any] = {
            name: kept(getattr(self, name)) for name in ("session", *BAR_COLUMNS, "raw_factor", "tradable")
        }
        columns["final_loss"] = np.where(whole, self.final_loss, np.nan)[present]
        columns["dividend"] = kept(self.dividend) if self.pays else np.empty(0)
        symbols = tuple(self.symbols[k] for k in present)
        return replace(self, symbols=symbols, offsets=offsets, let_go=None, **columns)

    def masked(self, tradable: npt.NDArray[np.bool_], universe: str) -> "Panel":
        """Return the same bars with trading narrowed to some rows, as the universe of that name says.

        Args:
            tradable: bool[rows]; a row stays tradable only where it was and this is True.
            universe: `point-in-time` or a kind that carries a bias, printed by every report.
        """
        return replace(self, tradable=self.tradable & tradable, universe=universe)
