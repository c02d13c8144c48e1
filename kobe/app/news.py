"""`kobe news`: headlines with the instant they were known, their tone at a close, and how far to trust that tone."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.app.context import Context
from kobe.app.reference import SHOWN, TableImport
from kobe.app.tone import tone_at
from kobe.core.errors import MissingDataError
from kobe.core.panel import Floats
from kobe.data import headlines
from kobe.features import sentiment
from kobe.reports.document import Document, Section, Table

LABELS = ("Negative", "Neutral", "Positive")


def news_import(file: Path, source: str, *, archive: bool, dry_run: bool) -> TableImport:
    """Return the import of a file of headlines; an archive tells no arrivals, so its own stamps are believed."""
    return TableImport(
        table="headlines", file=file, source=source, dry_run=dry_run, meanings=headlines.RULES | headlines.NOTES,
        prepare=lambda frame, now: headlines.normalise(frame, now, archive=archive),
    )  # fmt: skip


def run_news_show(ctx: Context, symbol: str, session: date | None) -> Document:
    """Show the tone of a symbol at a session's close, and the newest headlines known by then, each with its own."""
    day = session or ctx.calendar.last_complete(ctx.clock.now())
    close = ctx.calendar.closes_at(day)
    held = ctx.reference.read("headlines").filter((pl.col("symbol") == symbol) & (pl.col("known_at") < close))
    tone, n = tone_at(ctx, [symbol], day).get(symbol, (0.0, 0))
    newest = held.sort("known_at", "title").tail(SHOWN)
    tones = sentiment.tones(newest.get_column("title").to_list())
    rows = tuple(
        (f"{known:%Y-%m-%d %H:%M}", f"{t.compound:+.2f}" if t.flag is None else t.flag, title)
        for known, title, t in zip(newest["known_at"].to_list(), newest["title"].to_list(), tones, strict=True)
    )
    return Document(
        schema="kobe.news/1",
        title=f"Headlines of {symbol} known before the close of {day}",
        summary=(f"Tone {tone:+.3f} from {n} headlines between the close before and this one."
                 if n else "No headline between the close before and this one: the tone is 0.",),
        sections=(Section(title=f"Newest {len(rows)}", table=Table(
            columns=("known at (UTC)", "tone", "headline"), rows=rows)),) if rows else (),
        data={"symbol": symbol, "session": str(day), "sentiment": tone, "headlines": n,
              "newest": [{"known_at": r[0], "tone": t.compound, "flag": t.flag, "title": r[2]}
                         for r, t in zip(rows, tones, strict=True)]},
    )  # fmt: skip


def run_news_score(titles: Sequence[str]) -> Document:
    """Score titles given on the command line."""
    tones = sentiment.tones(titles)
    return Document(
        schema="kobe.news_score/1",
        title="Tone of headlines, from -1 to +1",
        sections=(Section(title="", table=Table(columns=("tone", "headline"), rows=tuple(
            (f"{t.compound:+.2f}" if t.flag is None else t.flag, title) for t, title in zip(tones, titles, strict=True)
        ))),),
        data={"scores": [{"title": title, "tone": t.compound, "flag": t.flag}
                         for t, title in zip(tones, titles, strict=True)]},
    )  # fmt: skip


def run_news_agreement(ctx: Context) -> Document:
    """Compare our tone with the labels vendors gave to the held headlines, stock VADER and the largest class beside it.

    By halves of time: the lexicon was tuned on the earlier half of the headlines of 2025, so the later one counts.

    Raises:
        MissingDataError: no held headline carries a label.
    """
    held = ctx.reference.read("headlines").filter(pl.col("label").is_in(list(LABELS)))
    if not len(held):
        raise MissingDataError(
            "no held headline carries a vendor's label",
            expected=" or ".join(LABELS),
            next_command="kobe news import FILE",
        )
    ordered = held.sort("published_at", "title", "symbol")
    middle, span = len(ordered) // 2, ordered.get_column("published_at").to_list()
    halves = {"earlier half": ordered[:middle], "later half": ordered[middle:]}
    rows = [row for name, half in halves.items() if len(half) for row in _agreement(name, half)]
    columns = ("half", "scored by", "headlines", "accuracy", "macro F1", "kappa")
    return Document(
        schema="kobe.news_agreement/1",
        title="Agreement with vendors' labels",
        summary=(f"{len(held):,} labelled headlines, {span[0]:%Y-%m-%d} to {span[-1]:%Y-%m-%d}.",),
        sections=(Section(title="", table=Table(columns=columns, rows=tuple(rows))),),
        data={"rows": [dict(zip(columns, row, strict=True)) for row in rows]},
    )  # fmt: skip


def _agreement(name: str, half: pl.DataFrame) -> list[tuple[str, str, int, float, float, float]]:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    titles = half.get_column("title").to_list()
    truth = np.array([LABELS.index(label) for label in half.get_column("label")])
    stock = SentimentIntensityAnalyzer()
    told = {
        "kobe": classes(sentiment.score(titles)),
        "stock VADER": classes(np.array([stock.polarity_scores(title)["compound"] for title in titles])),
        "largest class": np.full(len(truth), np.bincount(truth).argmax()),
    }
    return [(name, who, len(truth), *figures(truth, values)) for who, values in told.items()]


def classes(compounds: Floats) -> npt.NDArray[np.int64]:
    """Return 0, 1 or 2 for negative, neutral and positive, by VADER's convention."""
    above, below = compounds >= sentiment.POSITIVE, compounds <= sentiment.NEGATIVE
    result: npt.NDArray[np.int64] = 1 + above.astype(np.int64) - below.astype(np.int64)
    return result


def figures(truth: npt.NDArray[np.int64], told: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """Return accuracy, macro-F1 and Cohen's kappa of three classes."""
    table = np.zeros((3, 3))
    np.add.at(table, (truth, told), 1)
    n, hits = table.sum(), np.diag(table)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    f1 = np.divide(2 * hits, rows + columns, out=np.zeros(3), where=rows + columns > 0)
    accuracy, chance = float(hits.sum() / n), float((rows * columns).sum() / n**2)
    return accuracy, float(f1.mean()), (accuracy - chance) / (1 - chance) if chance < 1 else float("nan")
