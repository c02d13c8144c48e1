"""One pick explained as a document: the decision, the chart, what was seen, the model's shares, likenesses, gates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kobe.reports.document import Document, Section, Table
from kobe.reports.render.svg_bars import Ohlc
from kobe.reports.render.svg_base import responsive
from kobe.reports.render.svg_levels import letter_chart, level_chart

SHOWN = 10
LISTED = ("casual", "technical")  # the executive story is the summary


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything that is known about one pick.

    Attributes:
        pick: its row of `daily_picks`; decision: the row of `trade_of_day`.
        saw: the rules of its strategy as they stood; record: what the model knows of the strategy.
        bars: raw prices up to the signal; levels: name -> raw price.
        model: `base`, `probability`, `log_odds`, `base_log_odds` and `parts` with name, value and shares of every
            input; None for a model that weighs none.
        base: how such a model came to its number.
        likeness: `nearest` past signals with their ends, `searched`, `won` with `low` and `high`, `mean_r`.
        verdicts: gate, verdict, code, observed, limit of the last time it was judged.
        stories: name -> sentences, each `text` with its `facts`.
    """

    pick: dict[str, Any]
    decision: dict[str, Any]
    saw: Sequence[dict[str, Any]]
    bars: Sequence[Ohlc]
    levels: Mapping[str, float]
    model: dict[str, Any] | None
    base: str
    likeness: dict[str, Any]
    verdicts: Sequence[Sequence[Any]]
    stories: Mapping[str, Sequence[dict[str, Any]]]
    banners: tuple[str, ...]


def build(case: Case) -> Document:
    """Build the document."""
    p = case.pick
    title = f"{p['symbol']}, {p['strategy']}, {p['signal_date']}: rank {p['rank']}"
    sections = (
        Section(title="In words", lists=tuple((n, tuple(s["text"] for s in case.stories[n])) for n in LISTED)),
        _chart(case),
        _saw(case),
        _model(case),
        _likeness(case.likeness),
        _gates(case),
    )
    return Document(
        schema="kobe.explain/1",
        title=title,
        summary=tuple(s["text"] for s in case.stories["executive"]),
        banners=case.banners,
        sections=sections,
        data={
            "pick": p, "decision": case.decision, "saw": list(case.saw), "levels": dict(case.levels),
            "model": case.model, "base": case.base, "likeness": case.likeness,
            "gates": [list(v) for v in case.verdicts],
            "stories": {name: list(told) for name, told in case.stories.items()},
        },
    )  # fmt: skip


def _chart(case: Case) -> Section:
    label = f"{case.pick['symbol']}, raw dollars"
    return Section(
        title=f"Its last {len(case.bars)} bars",
        letters=letter_chart(case.bars, case.levels),
        picture=responsive(lambda width: level_chart(label, case.bars[-_room(width) :], case.levels, width)),
    )


def _room(width: int) -> int:
    return 60 if width > 600 else 30


def _saw(case: Case) -> Section:
    rows = tuple((r["label"], r["observed"], r["sense"], r["limit"]) for r in case.saw)
    return Section(title="What the strategy saw", table=Table(columns=("rule", "was", "asked", "limit"), rows=rows))


def _model(case: Case) -> Section:
    found = case.model
    if found is None:
        return Section(title="Why this probability", lines=(case.base,))
    parts = found["parts"]
    rows = tuple((c["name"], c["value"], c["log_odds"], c["probability"]) for c in parts[:SHOWN])
    rest = parts[SHOWN:]
    other = (f"{len(rest)} others", None, sum(c["log_odds"] for c in rest), sum(c["probability"] for c in rest))
    moved = (found["log_odds"] - found["base_log_odds"], found["probability"] - found["base"])
    told = f"From {found['base']:.4f} for the average row to {found['probability']:.4f}; the shares add up exactly."
    return Section(
        title="Why this probability", lines=(told,),
        table=Table(columns=("input", "value", "log-odds", "probability"),
                    rows=(*rows, other, ("all of them", None, *moved))),
    )  # fmt: skip


def _likeness(found: dict[str, Any]) -> Section:
    nearest = found["nearest"]
    if not nearest:
        return Section(title="Nothing like it is on record", lines=("no earlier signal of its strategy has ended",))
    told = (
        f"{found['won']:.0%} of the {len(nearest)} nearest of {found['searched']:,} made money "
        f"[{found['low']:.0%}, {found['high']:.0%}], mean {found['mean_r']:+.3f} R."
    )
    rows = tuple((a["symbol"], str(a["signal_date"]), a["distance"], a["r_net"], "yes" if a["taken"] else "no")
                 for a in nearest[:SHOWN])  # fmt: skip
    return Section(
        title="What looked most like it", lines=(told,),
        table=Table(columns=("symbol", "signal", "distance", "net R", "taken"), rows=rows),
    )  # fmt: skip


def _gates(case: Case) -> Section:
    if not case.verdicts:
        return Section(title="Gates", lines=("no order was asked for, so no gate was asked",))
    columns = ("gate", "verdict", "code", "observed", "limit")
    rows = tuple((v[0], v[1], v[2], v[3], v[4]) for v in case.verdicts)
    return Section(title="Gates, the last time it was judged", table=Table(columns=columns, rows=rows))
