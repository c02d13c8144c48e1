"""Tone of headlines, and what of it was known at each session's close (DOMAIN 3.4, D20).

VADER's engine does the grammar (negation, degree, contrast), `finance_lexicon` says what market words mean.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from kobe.core.calendar import Calendar
from kobe.core.errors import DataError, SchemaError
from kobe.core.panel import Floats
from kobe.features.finance_lexicon import NEUTRAL, PHRASES, WORDS

if TYPE_CHECKING:
    import polars as pl

POSITIVE, NEGATIVE = 0.05, -0.05
"""From here on a compound counts as positive or negative; VADER's own convention."""
HALF_LIFE_DAYS = 1.0
_SHORTEST_HALF_LIFE = 0.1
REPEAT_DAYS = 5
"""The same title again within so many days is the same story; later it is a column's standing title."""
STALE_DAYS = 7
"""A headline that arrives later than this after it was published is not news: its weight would be below one percent."""
LONGEST_TITLE = 2_000
FLAGS: dict[str, str] = {
    "not_text": "no text at all, such as None",
    "empty": "nothing but spaces, signs, digits or emoji",
    "not_latin": "mostly in a script the lexicon does not speak",
    "too_long": f"over {LONGEST_TITLE} characters: no headline",
}
"""Why a title has no tone."""
_SHORTEST_STOCK_WORD = 4  # VADER's shorter words are chat abbreviations and collide with tickers; ours come on top
_TICKER = re.compile(
    r"\(\s*(?:[A-Za-z]+\s*:\s*)?\$?[A-Z]{1,5}(?:[.-][A-Z])?\s*\)"  # (AAPL), (NASDAQ: META)
    r"|\$[A-Z]{1,5}\b|\b(?:NYSE|NASDAQ|Nasdaq|AMEX|TSX|LSE|OTC)\s*:\s*[A-Z.]{1,6}"
)
_DASHES = re.compile(r"[-\u2010-\u2015/_|~*+]")
_WORD = re.compile(r"\w[\w']*")
_SPECIAL = {
    "*": r"(?: [\w$%&'.,]*[\w%']){0,3}?",
    "#": r" (?:nearly |about |over |more than )?\$?\d[\d.,]*[%a-z]{0,3}",
}


@dataclass(frozen=True, slots=True)
class Tone:
    """The tone of one title.

    Attributes:
        compound: from -1 to +1; 0 where it is unknown.
        flag: why it is unknown, one of `FLAGS`; None where it is known.
    """

    compound: float
    flag: str | None = None


def score(titles: Iterable[object]) -> Floats:
    """Score headlines from -1 to +1; 0 where the tone is unknown (`tones` says why). Never raises on odd titles.

    Source: engine Hutto & Gilbert 2014, lexicon `finance_lexicon`.

    Example:
        score(["Profit warning: shares plunge 20%"])  # array([-0.82])
    """
    return np.array([tone.compound for tone in tones(titles)], dtype=np.float64)


def tones(titles: Iterable[object]) -> list[Tone]:
    """Score headlines and say of which the tone is unknown; see `score`."""
    return [tone_of(title) for title in titles]


def tone_of(title: object) -> Tone:
    """Score one headline; see `score`."""
    if not isinstance(title, str):
        return Tone(0.0, "not_text")
    if len(title) > LONGEST_TITLE:
        return Tone(0.0, "too_long")
    text = _plain(title)
    flag = _unreadable(text)
    if flag is not None:
        return Tone(0.0, flag)
    return Tone(float(_engine().polarity_scores(_with_phrases(text))["compound"]))


def story_of(title: str) -> str:
    """Return what makes two titles the same story: their words, without case, signs and spacing."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", title).casefold()))


def by_session(
    headlines: "pl.DataFrame",
    symbols: Sequence[str],
    sessions: Sequence[date],
    calendar: Calendar,
    *,
    half_life_days: float = HALF_LIFE_DAYS,
) -> "pl.DataFrame":
    """Return the tone of each symbol's headlines as known right before each session's close.

    A headline serves the first session that closes after it could be known, the later of `published_at`, `known_at`
    and `fetched_at`: an instant equal to the close serves the next session, a weekend serves Monday. Of one story
    under one symbol only the earliest known counts. The mean is weighted by age at the close, half after
    `half_life_days`. Headlines that cannot be read count as `unread` and in nothing else.

    Args:
        headlines: columns symbol, title, published_at (aware); optional known_at, fetched_at (aware, null: unknown).
        symbols: who to answer for.
        sessions: session dates to answer for, any order.
        calendar: gives the closes, half days included.
        half_life_days: calendar days, 0.1 or more.

    Returns:
        One row per symbol and session, sorted: symbol, session, sentiment in [-1, 1] (0 where n is 0), n, unread.
        Known at: the session's close.

    Raises:
        SchemaError: a column is missing or an instant is naive.
        DataError: a date is no session, or the half-life is too short to weigh anything.
    """
    import polars as pl

    if not half_life_days >= _SHORTEST_HALF_LIFE:
        raise DataError(
            "the half-life is too short", seen=half_life_days, expected=f"{_SHORTEST_HALF_LIFE} days or more"
        )
    days = sorted(set(sessions))
    grid = pl.DataFrame({"symbol": sorted(set(symbols))}, schema={"symbol": pl.String}).join(
        pl.DataFrame({"session": days}, schema={"session": pl.Date}), how="cross"
    )
    served = _served(_known(headlines, symbols), days, calendar)
    judged = tones(served.get_column("title").to_list())
    weight = 0.5 ** (pl.col("age_days") / half_life_days)
    read = pl.col("flag").is_null()
    told = served.with_columns(
        tone=pl.Series([t.compound for t in judged], dtype=pl.Float64),
        flag=pl.Series([t.flag for t in judged], dtype=pl.String),
    ).with_columns(weight=pl.when(read).then(weight).otherwise(0.0))
    sums = told.group_by("symbol", "session").agg(
        sentiment=(pl.col("tone") * pl.col("weight")).sum() / pl.col("weight").sum(),
        n=read.sum().cast(pl.UInt32),
        unread=(~read).sum().cast(pl.UInt32),
    )
    filled = grid.join(sums, on=["symbol", "session"], how="left").with_columns(pl.col("n", "unread").fill_null(0))
    mean = pl.when(pl.col("n") > 0).then(pl.col("sentiment").clip(-1.0, 1.0)).otherwise(0.0)
    return filled.with_columns(sentiment=mean).sort("symbol", "session")


def _known(headlines: "pl.DataFrame", symbols: Sequence[str]) -> "pl.DataFrame":
    """Return the first telling of each story, with the instant since when it could be known."""
    import polars as pl

    missing = [c for c in ("symbol", "title", "published_at") if c not in headlines.columns]
    if missing:
        raise SchemaError("headlines lack a column", seen=headlines.columns, expected=", ".join(missing))
    stamps = [c for c in ("published_at", "known_at", "fetched_at") if c in headlines.columns]
    for name in stamps:
        kind = headlines.schema[name]
        if kind != pl.Null and not (isinstance(kind, pl.Datetime) and kind.time_zone is not None):
            raise SchemaError("an instant of a headline has no time zone", seen=f"{name}: {kind}", expected="aware")
    instants = [pl.col(c).cast(pl.Datetime("us", "UTC")) for c in stamps]
    mine = headlines.filter(pl.col("symbol").is_in(list(symbols)) & pl.col("published_at").is_not_null())
    told = mine.select("symbol", "title", instants[0], known=pl.max_horizontal(instants))
    fresh = told.filter(pl.col("known") - pl.col("published_at") <= timedelta(days=STALE_DAYS))
    ordered = fresh.sort("known", "published_at", "symbol", "title", nulls_last=True)
    return ordered.filter(pl.Series(_first_told(ordered), dtype=pl.Boolean))


def _first_told(ordered: "pl.DataFrame") -> list[bool]:
    """Say of each headline, in the order of their instants, whether its story was not told within `REPEAT_DAYS`."""
    last: dict[tuple[str, str], Any] = {}
    first = []
    for symbol, title, known in ordered.select("symbol", "title", "known").iter_rows():
        story = (symbol, story_of(title or ""))
        before = last.get(story)
        new = before is None or not story[1] or known - before > timedelta(days=REPEAT_DAYS)
        first.append(new)
        if new:
            last[story] = known
    return first


def _served(known: "pl.DataFrame", days: Sequence[date], calendar: Calendar) -> "pl.DataFrame":
    """Keep the headlines that serve one of some sessions, with that session and their age at its close in days."""
    import polars as pl

    closes = [calendar.closes_at(day) for day in days]
    opened = [calendar.closes_at(calendar.offset(day, -1)) if calendar.number(day) else None for day in days]
    span = pl.DataFrame(
        {"session": days, "since": opened, "close": closes},
        schema={"session": pl.Date, "since": pl.Datetime("us", "UTC"), "close": pl.Datetime("us", "UTC")},
    ).with_columns(next_close=pl.col("close"))
    # The first close strictly after the instant: a headline of the closing second is nothing the close could know.
    placed = known.join_asof(
        span.sort("close"), left_on="known", right_on="close", strategy="forward", allow_exact_matches=False
    )
    inside = pl.col("session").is_not_null() & (pl.col("since").is_null() | (pl.col("known") >= pl.col("since")))
    age = (pl.col("next_close") - pl.col("published_at")).dt.total_microseconds() / 86_400e6
    return placed.filter(inside).with_columns(age_days=age)


def _plain(title: str) -> str:
    """Return a title in small letters without tickers, signs and control characters; its dashes become spaces."""
    text = unicodedata.normalize("NFKC", title).replace("\u2019", "'").replace("\u2018", "'")
    text = _TICKER.sub(" ", text)
    kept = "".join(c if c.isalnum() or c in ".,;:!?$%&'" else " " for c in _DASHES.sub(" ", text))
    # Capitals are house style and tickers in headlines; VADER would read them as shouting.
    return " ".join(kept.lower().split())


def _unreadable(text: str) -> str | None:
    letters = [c for c in text if c.isalpha()]
    latin = sum(c < "\u0250" for c in letters)
    if not letters:
        return "empty"
    return None if 2 * latin > len(letters) else "not_latin"


def _with_phrases(text: str) -> str:
    """Replace every phrase of the lexicon by one word the engine finds in its table."""
    openers, out, place = _phrases(), [], 0
    for word in _WORD.finditer(text):
        if word.start() < place:
            continue
        first = word.group()
        for pattern, token in (*openers.get(first, ()), *(openers.get("#", ()) if first[0].isdigit() else ())):
            found = pattern.match(text, word.start())
            if found:
                out += [text[place : word.start()], f" {token} "]
                place = found.end()
                break
    return "".join([*out, text[place:]])


def _token(number: int) -> str:
    return f"phrase_{number}"


@cache
def _phrases() -> dict[str, tuple[tuple[re.Pattern[str], str], ...]]:
    """Return, by the word a phrase begins with, the patterns of such phrases and the words that replace them."""
    openers: dict[str, list[tuple[re.Pattern[str], str]]] = {}
    for number, phrase in enumerate(PHRASES):
        words = phrase.split()
        shapes = [_SPECIAL.get(word) or f" (?:{'|'.join(map(re.escape, word.split('/')))})" for word in words]
        pattern = re.compile("".join(shapes).removeprefix(" ") + r"(?!\w)")
        for first in words[0].split("/"):
            openers.setdefault(first.rstrip(","), []).append((pattern, _token(number)))
    return {first: tuple(patterns) for first, patterns in openers.items()}


@cache
def _engine() -> Any:
    """VADER's engine with our table: stock words without neutral ones, our words over them, phrases as words."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    engine = SentimentIntensityAnalyzer()
    stock = {word: tone for word, tone in engine.lexicon.items() if _is_plain_word(word)}
    for word in NEUTRAL.split():
        stock.pop(word, None)
    own = {word: tone for tone, words in reversed(WORDS.items()) for word in words.split()}
    phrases = {_token(number): tone for number, tone in enumerate(PHRASES.values())}
    engine.lexicon = {**stock, **own, **phrases}
    engine.emojis = {}
    return engine


def _is_plain_word(word: str) -> bool:
    return word.isalpha() and len(word) >= _SHORTEST_STOCK_WORD
