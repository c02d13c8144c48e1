"""Universes: who may be traded when, by rule or from membership records, with the proof of how it came about.

A universe is a folder `data/universe/NAME`: `membership.csv` (symbol, start, end) and `proof.json`. A list chosen today
and used on the past is survivorship- and look-ahead-selected (D14); its kind says so, and every report prints it.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kobe.core.calendar import Calendar
from kobe.core.errors import IntegrityError, MissingDataError, SchemaError, UsageError
from kobe.core.frames import pl
from kobe.core.ids import canonical_json, short_digest
from kobe.core.panel import Panel
from kobe.core.ports import Artifacts

SCHEMA = {"symbol": str, "start": date, "end": date}
STATIC, POINT_IN_TIME = "static-current", "point-in-time"
_NAME = r"^[a-z0-9][a-z0-9_\-]{0,40}$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a symbol must have on the day it is chosen.

    Attributes:
        size: how many are taken, by average dollar volume.
        min_price_usd: least raw close.
        min_adv_usd: least average dollar volume over `adv_sessions`.
        min_history: least number of bars up to that day.
        adv_sessions: sessions the dollar volume is averaged over.
        optionable: symbols with listed options, or None: not asked.
    """

    size: int = 900
    min_price_usd: float = 5.0
    min_adv_usd: float = 5e6
    min_history: int = 250
    adv_sessions: int = 60
    optionable: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Universe:
    """Who belongs when.

    Attributes:
        name: its folder.
        kind: `static-current` or `point-in-time`.
        membership: symbol, start (first session it may be traded on), end (first session it may not; null: open).
        proof: rules, inputs and digests it was made from.
    """

    name: str
    kind: str
    membership: "pl.DataFrame"
    proof: dict[str, Any]

    def members(self, day: date) -> list[str]:
        """Return who belongs on a day, in order."""
        here = (pl.col("start") <= day) & (pl.col("end").is_null() | (pl.col("end") > day))
        return sorted(self.membership.filter(here).get_column("symbol").to_list())


def ranking(panel: Panel, as_of: date, rules: Rules) -> "pl.DataFrame":
    """Rank every symbol of a panel by what was known at a session's close.

    Args:
        panel: any history; everything after `as_of` is cut off first.
        as_of: a session.
        rules: what is asked of a symbol.

    Returns:
        symbol, rank (null when not chosen), adv_usd, price_usd, bars, reason (empty when chosen), best first.
    """
    number = panel.calendar.number(as_of)
    past = panel.until(number)
    rows = [_facts(past, k, number, rules) for k in range(len(past.symbols))]
    schema = {
        "symbol": pl.String,
        "adv_usd": pl.Float64,
        "price_usd": pl.Float64,
        "bars": pl.Int64,
        "reason": pl.String,
    }
    table = pl.DataFrame(rows, schema=schema, orient="row").sort(
        pl.col("reason") != "", -pl.col("adv_usd"), "symbol", nulls_last=True
    )
    place = pl.int_range(1, pl.len() + 1)
    chosen = (pl.col("reason") == "") & (place <= rules.size)
    beyond = (pl.col("reason") == "") & (place > rules.size)
    return table.with_columns(
        rank=pl.when(chosen).then(place),
        reason=pl.when(beyond).then(pl.lit("beyond_size")).otherwise(pl.col("reason")),
    ).select("symbol", "rank", "adv_usd", "price_usd", "bars", "reason")


def _facts(past: Panel, k: int, number: int, rules: Rules) -> tuple[str, float, float, int, str]:
    symbol, stop = past.symbols[k], int(past.offsets[k + 1])
    start = max(int(past.offsets[k]), stop - rules.adv_sessions)
    adv = float(np.sum(past.close[start:stop] * past.volume[start:stop]) / rules.adv_sessions)  # adjustments cancel out
    price = float(past.close[stop - 1] * past.raw_factor[stop - 1])
    bars = stop - int(past.offsets[k])
    checks = (
        ("no_bar", past.session[stop - 1] == number),
        ("on_hold", bool(past.tradable[stop - 1])),
        ("history", bars >= rules.min_history),
        ("price", price >= rules.min_price_usd),
        ("adv", adv >= rules.min_adv_usd),
        ("not_optionable", rules.optionable is None or symbol in rules.optionable),
    )
    return symbol, adv, price, bars, next((code for code, good in checks if not good), "")


def build(
    panel: Panel, name: str, days: Sequence[date], rules: Rules, *, rolling: bool
) -> "tuple[Universe, pl.DataFrame]":
    """Choose members by rule.

    Args:
        panel: the bars to choose from.
        name: of the universe.
        days: sessions on whose close the choice is made, ascending; one for a static list.
        rules: what is asked of a symbol.
        rolling: each choice holds from the session after its day to the next choice (point in time); else the one
            choice holds for all time, which is the bias a static list has.

    Returns:
        The universe, and the ranking of its last day.
    """
    check_name(name)
    tables = [ranking(panel, day, rules) for day in days]
    chosen = [set(t.filter(pl.col("rank").is_not_null()).get_column("symbol").to_list()) for t in tables]
    if rolling:
        membership = _intervals([panel.calendar.next(day) for day in days], chosen)
    else:
        rows = [(symbol, panel.calendar.sessions[0], None) for symbol in sorted(chosen[-1])]
        membership = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    asked = {**asdict(rules), "optionable": "not asked" if rules.optionable is None else len(rules.optionable)}
    proof = {
        "made_by": "kobe universe build", "rules": asked, "as_of": [str(day) for day in days], "bars": panel.digest,
        "bars_universe": panel.universe, "source": panel.source, "feed": panel.feed,
        "chosen": [len(c) for c in chosen], "ranking": short_digest(tables[-1].rows()),
    }  # fmt: skip
    return Universe(name=name, kind=POINT_IN_TIME if rolling else STATIC, membership=membership, proof=proof), tables[
        -1
    ]


def _intervals(starts: Sequence[date], chosen: Sequence[set[str]]) -> "pl.DataFrame":
    rows: list[tuple[str, date, date | None]] = []
    since: dict[str, date] = {}
    for day, now in zip(starts, chosen, strict=True):
        rows += [(symbol, since.pop(symbol), day) for symbol in sorted(set(since) - now)]
        since.update(dict.fromkeys(now - set(since), day))
    rows += [(symbol, start, None) for symbol, start in since.items()]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("symbol", "start")


def from_records(frame: "pl.DataFrame", name: str, calendar: Calendar, source: str) -> Universe:
    """Make a universe of membership records: intervals (symbol, start, end) or snapshots (date, symbol).

    A snapshot is known at the close of its day: it holds from the next session to the one after the next snapshot.
    After the last snapshot membership stays open for as long as snapshots usually lie apart.

    Raises:
        SchemaError: the columns are neither.
    """
    check_name(name)
    if {"symbol", "start", "end"} <= set(frame.columns):
        membership = frame.select(
            pl.col("symbol").cast(pl.String), pl.col("start").cast(pl.Date), pl.col("end").cast(pl.Date)
        )
    elif {"date", "symbol"} <= set(frame.columns):
        membership = _from_snapshots(frame, calendar)
    else:
        raise SchemaError(
            "no membership records", seen=", ".join(frame.columns), expected="symbol, start, end or date, symbol"
        )
    odd = membership.filter(~pl.col("symbol").str.contains(r"^[A-Z0-9]"))
    membership = membership.filter(pl.col("symbol").str.contains(r"^[A-Z0-9]")).sort("symbol", "start")
    proof = {
        "made_by": "kobe universe import",
        "source": source,
        "records": len(frame),
        "odd_symbols": sorted(set(odd.get_column("symbol").to_list())),
        "membership": short_digest([[str(x) for x in row] for row in membership.rows()]),
    }
    return Universe(name=name, kind=POINT_IN_TIME, membership=membership, proof=proof)


def _from_snapshots(frame: "pl.DataFrame", calendar: Calendar) -> "pl.DataFrame":
    told = frame.select(pl.col("date").cast(pl.Date), pl.col("symbol").cast(pl.String)).drop_nulls().unique()
    groups = {day: set(part.get_column("symbol").to_list()) for (day,), part in sorted(told.group_by("date"))}
    days = list(groups)
    starts = [calendar.next(day) for day in days]
    gap = days[-1] - days[-2] if len(days) > 1 else days[-1] - days[-1]
    end = calendar.next(days[-1] + gap)
    rows = _intervals(starts, [groups[day] for day in days])
    return rows.with_columns(pl.col("end").fill_null(end))


def check_name(name: str) -> None:
    """Refuse names that could leave the folder.

    Raises:
        UsageError: it is no plain name.
    """
    import re

    if not re.fullmatch(_NAME, name):
        raise UsageError("a universe needs a plain name", seen=name, expected="lower-case letters, digits, - and _")


def write(universe: Universe, table: "pl.DataFrame | None", folder: Path, artifacts: Artifacts) -> Path:
    """Keep a universe with its proof; the proof is written last and names the membership by its digest."""
    place = folder / universe.name
    if table is not None:
        artifacts.write(place / "ranking.csv", table.write_csv().encode())
    sha = artifacts.write(place / "membership.csv", universe.membership.write_csv().encode())
    proof = {**universe.proof, "kind": universe.kind, "membership_sha256": sha, "schema": "kobe.universe/1"}
    artifacts.write(place / "proof.json", canonical_json(proof).encode())
    return place


def read(folder: Path, name: str) -> Universe:
    """Read a universe and check it against its proof.

    Raises:
        MissingDataError: there is none of that name.
        IntegrityError: membership and proof do not belong together.
    """
    import hashlib

    check_name(name)
    place = folder / name
    try:
        content, proof = (place / "membership.csv").read_bytes(), json.loads((place / "proof.json").read_bytes())
    except FileNotFoundError:
        have = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        raise MissingDataError(
            "no such universe", seen=name, expected=", ".join(have) or "one made by kobe universe build",
            next_command="kobe universe build --help",
        ) from None  # fmt: skip
    except ValueError as error:
        raise _damaged(place, error) from error
    if hashlib.sha256(content).hexdigest() != proof.get("membership_sha256"):
        raise _damaged(place, "membership.csv is not the one proof.json names")
    return Universe(
        name=name,
        kind=str(proof["kind"]),
        membership=pl.read_csv(io.BytesIO(content), schema=pl.Schema(SCHEMA)),
        proof=proof,
    )


def _damaged(place: Path, why: object) -> IntegrityError:
    return IntegrityError(
        f"the universe {place.name} is damaged", seen=str(why)[:160], next_command="kobe universe build"
    )


def _key(symbol: str) -> str:
    """Records write share classes in many ways: BRK.B, BRK-B, BRKB."""
    return symbol.replace(".", "").replace("-", "")


def member_rows(panel: Panel, universe: Universe) -> npt.NDArray[np.bool_]:
    """Return, per bar, whether its symbol belongs to the universe in that session: bool[rows]."""
    member = np.zeros(len(panel), dtype=np.bool_)
    place = {_key(symbol): k for k, symbol in enumerate(panel.symbols)}
    days = panel.calendar.days[panel.session]
    spans = universe.membership.select("symbol", pl.col("start").to_physical(), pl.col("end").to_physical())
    for symbol, start, end in spans.iter_rows():
        k = place.get(_key(symbol))
        if k is not None:
            low, high = int(panel.offsets[k]), int(panel.offsets[k + 1])
            first = low + int(np.searchsorted(days[low:high], start))
            last = high if end is None else low + int(np.searchsorted(days[low:high], end))
            member[first:last] = True
    return member


def masked(panel: Panel, universe: Universe) -> Panel:
    """Return the panel with trading narrowed to the universe's members, and the bias that remains named."""
    kind = universe.kind
    if kind == POINT_IN_TIME and panel.universe != POINT_IN_TIME:
        kind = f"point-in-time list over {panel.universe} bars"
    return panel.masked(member_rows(panel, universe), kind)


def coverage(panel: Panel, universe: Universe) -> "pl.DataFrame":
    """Return, per year, how many of the member-sessions have a bar: what is missing is the bias that stays.

    Returns:
        year, members (ever in that year), unknown_symbols (those without any bar), member_sessions, with_bar, share.
    """
    known = {_key(symbol) for symbol in panel.symbols}
    days = panel.calendar.days
    years = np.array([day.year for day in panel.calendar.sessions])
    low, high = panel.first_session, panel.last_session + 1
    names: dict[int, set[str]] = {}
    wanted = np.zeros(years.max() + 1, dtype=np.int64)
    for symbol, start, end in universe.membership.with_columns(pl.col("start", "end").to_physical()).iter_rows():
        first = max(low, int(np.searchsorted(days, start)))
        last = high if end is None else min(high, int(np.searchsorted(days, end)))
        for year in np.unique(years[first:last]).tolist():
            names.setdefault(year, set()).add(symbol)
        wanted += np.bincount(years[first:last], minlength=len(wanted))
    have = np.bincount(years[panel.session[member_rows(panel, universe)]], minlength=len(wanted))
    rows = [
        (year, len(who), sum(_key(s) not in known for s in who), int(wanted[year]), int(have[year]),
         float(have[year] / wanted[year]))
        for year, who in sorted(names.items())
    ]  # fmt: skip
    schema = ["year", "members", "unknown_symbols", "member_sessions", "with_bar", "share"]
    return pl.DataFrame(rows, schema=schema, orient="row")
