"""A pick in words, three ways. Every sentence is made from numbers it names: `facts` says which, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

STRATEGY_WORDS = {"ibs_rsi": "a weak close inside an uptrend", "turtle_soup": "a failed break of an old low"}
Pick = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """Words and the numbers in them, by name, formatted as they stand in the words."""

    text: str
    facts: dict[str, str]


def sentence(template: str, **facts: str) -> Sentence:
    """Fill a template; every `{name}` in it is a fact, and every fact is in it."""
    return Sentence(text=template.format(**facts), facts=facts)


def _usd(value: float) -> str:
    return f"${value:,.2f}"


def _risk(pick: Pick) -> tuple[str, str]:
    """Return the distance to the stop in raw dollars and as a share of the close."""
    share = (pick["reference_close"] - pick["stop"]) / pick["reference_close"]
    return _usd(pick["raw_close"] * share), f"{share:.1%}"


def technical(pick: Pick, saw: Sequence[dict[str, Any]]) -> list[Sentence]:
    """Say what the strategy measured, rule by rule, and where stop and target lie."""
    told = [
        sentence("{label}: {observed}, asked {sense} {limit}.", label=r["label"], observed=_number(r["observed"]),
                 sense=r["sense"], limit=_number(r["limit"]))
        for r in saw
    ]  # fmt: skip
    risk, share = _risk(pick)
    told.append(sentence("The stop is {risk} below the raw close, {share} of it.", risk=risk, share=share))
    if pick["target"] is not None:
        gain = (pick["target"] / pick["reference_close"] - 1.0) * pick["raw_close"]
        told.append(sentence("The target is {gain} above it.", gain=_usd(gain)))
    return told


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.4g}"


def casual(pick: Pick, won: float, count: int) -> list[Sentence]:
    """Say it as one would to a friend who trades."""
    words = STRATEGY_WORDS.get(pick["strategy"], str(pick["strategy"]))
    told = [sentence("{symbol} closed at {close}: {words}.", symbol=pick["symbol"], close=_usd(pick["raw_close"]),
                     words=words)]  # fmt: skip
    told += _odds(pick)
    if count:
        told.append(sentence("Of the {count} signals that looked most like it, {won} made money after costs.",
                             count=f"{count:,}", won=f"{won:.0%}"))  # fmt: skip
    return told


def _odds(pick: Pick) -> list[Sentence]:
    if pick["probability"] is None:
        return [Sentence(text="No model may speak about it, so nothing is traded on it.", facts={})]
    told = "The model gives it {p} to make money after costs; acting takes {gate}."
    return [sentence(told, p=f"{pick['probability']:.1%}", gate=f"{pick['gate']:.1%}")]


def executive(pick: Pick, decision: dict[str, Any]) -> list[Sentence]:
    """Say what was decided, what is at stake and what is expected, in three sentences."""
    traded = decision["action"] == "trade" and decision["symbol"] == pick["symbol"]
    about = "trade of the day" if traded else "a pick, not traded"
    risk, _ = _risk(pick)
    told = [
        sentence("{symbol} ({strategy}) of {day}: {about}.", symbol=pick["symbol"], strategy=pick["strategy"],
                 day=pick["signal_date"], about=about),
        sentence("One share risks {risk}.", risk=risk),
    ]  # fmt: skip
    if pick["expected_r"] is not None:
        told.append(sentence("On the record of its strategy it is worth {r} R on average.",
                             r=f"{pick['expected_r']:+.3f}"))  # fmt: skip
    return told
