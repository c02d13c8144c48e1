"""The day and the picks as pictures for a chat: dark on white, letters that can be read on a phone.

They need the extra `charts` (matplotlib), which is loaded when a picture is drawn and not before. A picture comes with
its words, made from the same figures, for those who do not see it.
"""

import io
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from kobe.reports import book_tables
from kobe.reports.book_tables import money, signed
from kobe.reports.end_of_day import DAY, MONTH, START, Day
from kobe.reports.morning import trade_words
from kobe.reports.morning_facts import Chosen, Pick

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT, DPI = 1200, 675, 100
INK, SOFT, LINE, GAIN, LOSS, PAPER = "#14181d", "#4a5560", "#d0d5da", "#136f2e", "#a3201a", "#ffffff"
BIG, NORMAL, SMALL = 34.0, 21.0, 17.0  # points; a phone shows a third of the 1200 pixels
MISSING = "pictures need the extra charts: pip install 'kobe[charts]'"
ROWS = 4
BARS = 40
Drawn = tuple[bytes, str]


def silence() -> str:
    """Say why no picture can be drawn; empty where one can."""
    return "" if find_spec("matplotlib") else MISSING


def eod_picture(day: Day) -> Drawn | None:
    """Draw a session's profit, its equity curve and its trades; None without matplotlib (`silence` says so)."""
    if silence():
        return None
    figure = _figure(f"kobe, {day.session}", _status(day))
    _numbers(figure, day)
    _curve(figure, day)
    _trades(figure, day)
    return _bytes(figure), eod_words(day)


def eod_words(day: Day) -> str:
    """Say what the picture of a day shows."""
    closed = ", ".join(f"{t.symbol} {signed(t.net_usd)} $ ({t.reason})" for t in day.closed) or "none"
    spans = ", ".join(f"{span} {signed(_moved(day, span))} $" for span in (DAY, MONTH, START))
    return (
        f"End of day {day.session}. Profit: {spans}. Equity {money(day.equity_usd)} $. "
        f"Open positions {len(day.holdings)}, {signed(book_tables.open_total(day.holdings))} $. "
        f"Closed today: {closed}. Mode {day.mode}."
    )


def picks_picture(chosen: Chosen) -> Drawn | None:
    """Draw the trade of the day with its bars and levels, and the other picks; None without matplotlib."""
    if silence():
        return None
    best = chosen.best
    title = "No trade" if best is None else f"{best.row['symbol']}, {best.row['side']}"
    figure = _figure(f"{title}, for the session after {chosen.signal_date}", _likely(chosen))
    shown = best or next(iter(chosen.picks), None)
    if shown is not None and shown.bars:
        _bars(figure, shown)
    _listed(figure, chosen, wide=shown is None or not shown.bars)
    return _bytes(figure), picks_words(chosen)


def picks_words(chosen: Chosen) -> str:
    """Say what the picture of the picks shows."""
    told = "; ".join(_pick_words(p) for p in chosen.picks) or "no pick"
    return f"Scan of {chosen.signal_date}. {trade_words(chosen)}. Picks: {told}."


def _pick_words(pick: Pick) -> str:
    levels = ", ".join(f"{name} {money(price)}" for name, price in pick.levels.items() if name in ("stop", "target"))
    return f"{pick.row['rank']} {pick.row['symbol']} close {money(pick.row['raw_close'])}" + (levels and f", {levels}")


def _likely(chosen: Chosen) -> str:
    best = chosen.best
    if best is None:
        return chosen.silence or chosen.reason
    r = best.row
    if r["probability"] is None:
        return f"{r['strategy']}; no model speaks"
    return f"{r['strategy']}; probability {r['probability']:.0%}, gate {r['gate']:.0%}"


def _status(day: Day) -> str:
    if day.decision is None:
        return f"mode {day.mode}; not scanned"
    said = f"traded {day.decision['symbol']}" if day.decision["action"] == "trade" else "no trade"
    return f"mode {day.mode}; decided: {said}"


def _moved(day: Day, span: str) -> Any:
    """Return the change of the equity of a span, or what was realised where no equity is known."""
    told = day.profit[span]
    return told.equity_usd if told.equity_usd is not None else told.realised_usd


def _figure(title: str, under: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor=PAPER)
    _text(figure, 0.035, 0.905, title, size=BIG * 0.85, weight="bold")
    _text(figure, 0.035, 0.835, under, size=SMALL, colour=SOFT)
    return figure


def _text(
    figure: "Figure", x: float, y: float, words: str, *, size: float, colour: str = INK, weight: str = "normal",
    anchor: str = "left",
) -> None:  # fmt: skip
    figure.text(x, y, _plain(words), fontsize=size, color=colour, fontweight=weight, ha=anchor, parse_math=False)


def _plain(words: str, most: int = 74) -> str:
    """Return words in letters the font has, on one line, not longer than the picture."""
    line = " ".join(words.encode("latin-1", "replace").decode("latin-1").split())
    line = "".join(c for c in line if c.isprintable())
    return line if len(line) <= most else line[: most - 3] + "..."


def _numbers(figure: "Figure", day: Day) -> None:
    for k, span in enumerate((DAY, MONTH, START)):
        value, x = _moved(day, span), 0.035 + k * 0.235
        _text(figure, x, 0.755, span.capitalize(), size=SMALL, colour=SOFT)
        _text(figure, x, 0.675, f"{signed(value)} $", size=BIG * 0.8, colour=_colour(value), weight="bold")
    _text(figure, 0.745, 0.755, f"Open, {len(day.holdings)} held", size=SMALL, colour=SOFT)
    standing = book_tables.open_total(day.holdings)
    _text(figure, 0.745, 0.675, f"{signed(standing)} $", size=BIG * 0.8, colour=_colour(standing), weight="bold")


def _colour(value: Any) -> str:
    return GAIN if value > 0 else LOSS if value < 0 else INK


def _axes(figure: "Figure", box: tuple[float, float, float, float]) -> "Axes":
    axes = figure.add_axes(box)
    axes.set_facecolor(PAPER)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)
    axes.tick_params(labelsize=SMALL * 0.85, colors=SOFT, length=0)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def _curve(figure: "Figure", day: Day) -> None:
    if len(day.curve) < 2:
        _text(figure, 0.035, 0.40, f"Equity {money(day.equity_usd)} $", size=NORMAL)
        return
    axes = _axes(figure, (0.095, 0.12, 0.43, 0.45))
    values = [float(usd) for _, usd in day.curve]
    axes.plot(range(len(values)), values, color=INK, linewidth=3)
    axes.plot([len(values) - 1], values[-1:], "o", color=INK, markersize=10)
    axes.yaxis.set_major_locator(_few())
    axes.yaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
    axes.set_xticks([])
    _text(figure, 0.095, 0.585, f"Equity {money(day.equity_usd)} $", size=SMALL, weight="bold")
    _text(figure, 0.095, 0.055, str(day.curve[0][0]), size=SMALL * 0.85, colour=SOFT)
    _text(figure, 0.525, 0.055, str(day.curve[-1][0]), size=SMALL * 0.85, colour=SOFT, anchor="right")


def _few() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=4, integer=True)


def _trades(figure: "Figure", day: Day) -> None:
    _text(figure, 0.575, 0.585, f"Closed today: {len(day.closed)}", size=SMALL, weight="bold")
    for k, t in enumerate(day.closed[:ROWS]):
        y = 0.505 - k * 0.075
        _text(figure, 0.575, y, f"{t.symbol}, {t.reason}", size=SMALL)
        _text(figure, 0.965, y, signed(t.net_usd), size=SMALL, colour=_colour(t.net_usd), weight="bold", anchor="right")
    more = len(day.closed) - ROWS
    told = [f"and {more} more"] if more > 0 else []
    told += [f"{len(day.refused)} refused by gates"] if day.refused else []
    told += [f"budget used {money(day.day_used_usd)} of {money(day.day_limit_usd)} $"]
    y = 0.505 - min(len(day.closed), ROWS) * 0.075
    for k, line in enumerate(told):
        _text(figure, 0.575, y - k * 0.075, line, size=SMALL, colour=SOFT)


def _bars(figure: "Figure", pick: Pick) -> None:
    axes = _axes(figure, (0.095, 0.12, 0.47, 0.64))
    bars = pick.bars[-BARS:]
    for k, (_, opened, high, low, close) in enumerate(bars):
        width = 2.6 if k < len(bars) - 1 else 4.2
        axes.plot([k, k], [low, high], color=INK, linewidth=width, solid_capstyle="butt")
        axes.plot([k - 0.4, k], [opened, opened], color=INK, linewidth=width, solid_capstyle="butt")
        axes.plot([k, k + 0.4], [close, close], color=INK, linewidth=width, solid_capstyle="butt")
    levels = sorted((price, name) for name, price in pick.levels.items() if price == price)  # noqa: PLR0124 - no NaN
    low, high = axes.get_ylim()
    low, high = min([low, *(p for p, _ in levels)]), max([high, *(p for p, _ in levels)])
    axes.set_ylim(low - (high - low) * 0.05, high + (high - low) * 0.05)
    axes.set_xlim(-1, len(bars) * 1.02)
    for (price, name), y in zip(levels, _apart([p for p, _ in levels], (high - low) * 0.085), strict=True):
        axes.axhline(price, color=LOSS if name == "stop" else SOFT, linewidth=2.4, linestyle=(0, (5, 3)))
        axes.text(len(bars) * 1.04, y, f"{name} {money(price)}", fontsize=SMALL * 0.9, va="center", color=INK,
                  fontweight="bold" if name in ("stop", "target") else "normal")  # fmt: skip
    axes.set_xticks([])
    _text(figure, 0.095, 0.055, str(bars[0][0]), size=SMALL * 0.85, colour=SOFT)
    _text(figure, 0.565, 0.055, str(bars[-1][0]), size=SMALL * 0.85, colour=SOFT, anchor="right")


def _apart(places: Sequence[float], least: float) -> list[float]:
    """Return places in ascending order that are moved up until each is so far from the one below."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + least) if found else place)
    return found


def _listed(figure: "Figure", chosen: Chosen, *, wide: bool) -> None:
    x = 0.035 if wide else 0.76
    for k, p in enumerate(chosen.picks[:3]):
        y = 0.70 - k * 0.2
        likely = "" if p.row["probability"] is None else f" {p.row['probability']:.0%}"
        _text(figure, x, y, f"{p.row['rank']}. {p.row['symbol']}{likely}", size=NORMAL, weight="bold")
        _text(figure, x, y - 0.055, _plain(str(p.row["strategy"]), 20), size=SMALL * 0.9, colour=SOFT)
        _text(figure, x, y - 0.105, f"close {money(p.row['raw_close'])}", size=SMALL * 0.9, colour=SOFT)


def _bytes(figure: "Figure") -> bytes:
    """Return the picture; nothing of the program or the hour is written into it, so the same figures give the same."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
