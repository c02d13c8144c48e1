"""What headlines say in market words, and what of it a session's close could know."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from conftest import DATA

from kobe.core.errors import DataError, SchemaError
from kobe.features import finance_lexicon, sentiment

AWARE = pl.Datetime("us", "UTC")
FRIDAY, MONDAY, TUESDAY = date(2024, 6, 7), date(2024, 6, 10), date(2024, 6, 11)
GOOD, BAD = "Acme beats estimates", "Profit warning at Acme"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def headlines(*rows: tuple, arrived: bool = False) -> pl.DataFrame:
    schema = {"symbol": pl.String, "title": pl.String, "published_at": AWARE}
    return pl.DataFrame(rows, schema={**schema, "fetched_at": AWARE} if arrived else schema, orient="row")


def told(frame: pl.DataFrame, sessions, calendar, symbols=("ACME",)) -> list[tuple]:
    return sentiment.by_session(frame, symbols, sessions, calendar).rows()


@pytest.mark.parametrize(
    ("title", "sign"),
    [
        ("Profit warning: shares plunge 20%", -1),
        ("Acme beats Q3 revenue estimates", 1),
        ("Acme does not beat estimates", -1),
        ("Price target cut to $10 at Acme", -1),
        ("Acme raises full-year outlook", 1),
        ("Short seller takes aim at Acme", -1),
        ("Acme files for Chapter 11", -1),
        ("Acme closes at record high", 1),
        ("Acme stock hits 52-week lows", -1),
        ("Acme to cut 14,000 corporate jobs", -1),
        ("Court dismisses antitrust lawsuit against Acme", 1),
        ("Acme shares down 7%", -1),
        ("Acme reports gross margin of crude shares in cancer drugs for its vice president", 0),
        ("Artificial intelligence, energy and interest: trust and credit securities", 0),
        ("Wells Fargo on (WELL), $FUN and NYSE: LOVE", 0),
        ("Earnings call preview", 0),
    ],
)
def test_market_language_has_the_sign_a_trader_reads(title, sign):
    compound = sentiment.tone_of(title).compound
    assert (compound >= 0.3, compound <= -0.3, compound == 0.0) == (sign > 0, sign < 0, sign == 0), compound


@pytest.mark.parametrize(
    ("title", "flag"),
    [
        (None, "not_text"), (3.5, "not_text"), ("", "empty"), ("  \t\n", "empty"), ("12% -- 7!", "empty"),
        ("\U0001f680\U0001f680", "empty"), ("\x00\x07", "empty"), ("利润警告 股价暴跌", "not_latin"),
        ("Прибыль упала beat", "not_latin"), ("beats " * 500, "too_long"), ("\ud800", "empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_zero_and_says_why(title, flag):
    assert sentiment.tone_of(title) == sentiment.Tone(0.0, flag)
    assert flag in sentiment.FLAGS


def test_scores_are_bounded_deterministic_and_blind_to_case_and_emoji():
    titles = ["plunge crash fraud bankrupt!!!! " * 20, "SOARS surges " * 20, "Acme beats estimates \U0001f680", None]
    first = sentiment.score(titles)
    assert np.array_equal(first, sentiment.score(titles))
    assert np.abs(first).max() <= 1.0
    assert first[2] == sentiment.tone_of("ACME BEATS ESTIMATES").compound
    assert len(sentiment.score([])) == 0


def test_the_lexicon_is_one_table_without_contradiction():
    words = [word for row in finance_lexicon.WORDS.values() for word in row.split()]
    neutral = finance_lexicon.NEUTRAL.split()
    assert len(words) == len(set(words))
    assert len(neutral) == len(set(neutral))
    assert not set(words) & set(neutral)
    assert all(word.isalpha() and word.islower() for word in [*words, *neutral])
    assert all(-4 <= tone <= 4 for tone in [*finance_lexicon.WORDS, *finance_lexicon.PHRASES.values()])


@pytest.mark.parametrize("phrase", finance_lexicon.PHRASES)
def test_every_phrase_is_found_in_its_plainest_form(phrase):
    special = {"*": "", "#": "5%"}
    plain = " ".join(special.get(word, word.split("/")[0]) for word in phrase.split()).replace("  ", " ")
    assert "phrase_" in sentiment._with_phrases(sentiment._plain(plain)), plain


def test_a_headline_of_the_closing_second_serves_the_next_session(calendar):
    close = calendar.closes_at(MONDAY)
    before = headlines(("ACME", GOOD, close - timedelta(microseconds=1)))
    exactly = headlines(("ACME", GOOD, close))
    tone = sentiment.tone_of(GOOD).compound
    assert told(before, [MONDAY, TUESDAY], calendar) == [("ACME", MONDAY, tone, 1, 0), ("ACME", TUESDAY, 0.0, 0, 0)]
    assert told(exactly, [MONDAY, TUESDAY], calendar) == [("ACME", MONDAY, 0.0, 0, 0), ("ACME", TUESDAY, tone, 1, 0)]


def test_a_half_day_closes_early_and_a_weekend_serves_monday(calendar):
    half, next_one = date(2024, 11, 29), date(2024, 12, 2)
    afternoon = headlines(("ACME", GOOD, at("2024-11-29T18:00")), ("ACME", BAD, at("2024-11-30T12:00")))
    rows = told(afternoon, [half, next_one], calendar)
    assert [(row[1], row[3]) for row in rows] == [(half, 0), (next_one, 2)]
    assert told(headlines(("ACME", GOOD, at("2024-11-29T17:59"))), [half], calendar)[0][3] == 1


def test_what_arrives_later_than_it_was_published_counts_from_its_arrival(calendar):
    late = headlines(("ACME", GOOD, at("2024-06-07T15:00"), at("2024-06-07T20:00")), arrived=True)
    assert [row[3] for row in told(late, [FRIDAY, MONDAY], calendar)] == [0, 1]
    years = headlines(("ACME", GOOD, at("2020-06-07T15:00"), at("2024-06-07T15:00")), arrived=True)
    assert told(years, [FRIDAY], calendar)[0][3] == 0


def test_a_story_counts_once_per_symbol_whatever_its_case_and_signs(calendar):
    rows = [("ACME", GOOD, at("2024-06-10T14:00")), ("ACME", "ACME beats estimates!", at("2024-06-10T15:00")),
            ("ACME", BAD, at("2024-06-10T15:30")), ("OTHR", GOOD, at("2024-06-10T14:00"))]  # fmt: skip
    found = told(headlines(*rows), [MONDAY], calendar, ("ACME", "OTHR"))
    assert [(row[0], row[3]) for row in found] == [("ACME", 2), ("OTHR", 1)]
    again = headlines(rows[0], ("ACME", GOOD, at("2024-06-11T14:00")), ("ACME", GOOD, at("2024-06-20T14:00")))
    assert [row[3] for row in told(again, [MONDAY, TUESDAY, date(2024, 6, 20)], calendar)] == [1, 0, 1]


def test_the_mean_weighs_by_age_and_halves_in_a_day(calendar):
    close = calendar.closes_at(MONDAY)
    fresh, old = close - timedelta(hours=6), close - timedelta(hours=54)
    value = told(headlines(("ACME", GOOD, fresh), ("ACME", BAD, old)), [MONDAY], calendar)[0][2]
    good, bad = sentiment.tone_of(GOOD).compound, sentiment.tone_of(BAD).compound
    weights = 0.5 ** (6 / 24), 0.5 ** (54 / 24)
    assert value == pytest.approx((good * weights[0] + bad * weights[1]) / sum(weights), abs=1e-12)


def test_unread_headlines_count_apart_and_nobody_is_left_out(calendar):
    frame = headlines(("ACME", "利润警告", at("2024-06-10T14:00")), ("ACME", None, at("2024-06-10T14:01")))
    rows = told(frame, [TUESDAY, MONDAY], calendar, ("NONE", "ACME"))
    assert rows == [("ACME", MONDAY, 0.0, 0, 2), ("ACME", TUESDAY, 0.0, 0, 0),
                    ("NONE", MONDAY, 0.0, 0, 0), ("NONE", TUESDAY, 0.0, 0, 0)]  # fmt: skip
    assert told(headlines(), [MONDAY], calendar) == [("ACME", MONDAY, 0.0, 0, 0)]
    assert told(headlines(), [], calendar) == []


def test_naive_instants_missing_columns_and_closed_days_are_refused(calendar):
    naive = headlines(("ACME", GOOD, at("2024-06-10T14:00"))).with_columns(
        pl.col("published_at").dt.replace_time_zone(None)
    )
    with pytest.raises(SchemaError):
        told(naive, [MONDAY], calendar)
    with pytest.raises(SchemaError):
        told(headlines().drop("title"), [MONDAY], calendar)
    with pytest.raises(DataError):
        told(headlines(), [date(2024, 6, 8)], calendar)
    with pytest.raises(DataError):
        sentiment.by_session(headlines(), ["ACME"], [MONDAY], calendar, half_life_days=0.0)


def test_real_headlines_agree_with_the_vendor_better_than_chance_and_than_stock_vader_did():
    path = DATA / "headlines.parquet"
    if not path.is_file():
        pytest.skip(f"real headlines are not there: {path} (set KOBE_TEST_DATA)")
    rows = pl.read_parquet(path).sort("ts", "title", "tickers")
    later = rows[len(rows) // 2 :]
    compound = sentiment.score(later.get_column("title").to_list())
    told_as = np.where(compound >= 0.05, "Positive", np.where(compound <= -0.05, "Negative", "Neutral"))
    agreed = (told_as == later.get_column("sentiment").to_numpy()).mean()
    assert agreed > 0.60  # stock VADER 0.494, always Positive 0.589; printed by `kobe news agreement`
