"""Monte Carlo and stress on a whole home: from the walk-forward's files and the broker's book to the report."""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from kit.command import kobe
from kit.home import LAST

from kobe.app import desk, wiring
from kobe.app.day import simulate
from kobe.app.montecarlo import MonteCarloRequest, run_montecarlo
from kobe.app.stress import StressRequest, recorded, run_stress
from kobe.app.stress_book import actual, fullest
from kobe.backtest.scenarios import HALT_SLIP, SCENARIOS
from kobe.core.errors import ExitCode, MissingDataError, SchemaError, UsageError
from kobe.core.ports import Account
from kobe.core.types import Side
from kobe.reports.document import jsonable
from kobe.reports.render import html, markdown, terminal

FEW = MonteCarloRequest(paths=400)


def curve(home, strategy):
    folders = sorted((home / "wf_outputs" / strategy).glob("split_*/equity_curve.csv"))
    return pl.concat([pl.read_csv(f, try_parse_dates=True) for f in folders])


def audited(home) -> list[dict]:
    lines = (home / "state" / "audit" / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture
def holding(home, calendar):
    """A home in the evening of a session on whose close something is held, and that session."""
    first = calendar.offset(LAST, -14)
    for k in range(1, 15):
        day = calendar.offset(first, k)
        ctx = wiring.build(home, clock=simulate.clock_before(first))
        simulate.run_simulation(ctx, first, day)
        if ctx.broker.account().positions:
            return ctx, day
    pytest.fail("nothing was ever held")


def test_the_daily_tail_is_that_of_the_files_and_the_rest_follows_the_seed(home):
    ctx = wiring.build(home)
    document = run_montecarlo(ctx, FEW)
    assert document.schema == "kobe.montecarlo/1"
    assert any("SYNTHETIC" in b for b in document.banners)
    assert any("UNIVERSE" in b for b in document.banners)
    for told in jsonable(document.data)["strategies"]:
        returns = curve(home, told["strategy"]).get_column("return").to_numpy()
        assert told["sessions"] == len(returns)
        assert told["daily"]["value_at_risk"] == -np.quantile(returns, 0.05, method="inverted_cdf")
        blocks = told["schemes"]["blocks"]
        assert blocks["paths"] == 400
        assert blocks["horizon"]["conditional_value_at_risk"] >= blocks["horizon"]["value_at_risk"]
        assert [p for p, _ in blocks["depths"]] == [50, 90, 95, 99]
        assert sorted(d for _, d in blocks["depths"]) == [d for _, d in blocks["depths"]]
        assert set(told["schemes"]) == {"blocks", "independent", "permuted"}
        assert told["trade_count"] > 0
    assert [s["strategy"] for s in document.data["strategies"]] == ["ibs_rsi", "turtle_soup"]
    assert run_montecarlo(ctx, FEW).data == document.data
    assert run_montecarlo(ctx, replace(FEW, seed=82)).data["strategies"] != document.data["strategies"]
    record = audited(home)[-1]
    assert (record["kind"], record["payload"]["seed"]) == ("montecarlo", 82)


def test_days_are_not_permuted_into_more_days_than_there_are(home):
    document = run_montecarlo(wiring.build(home), replace(FEW, strategy="ibs_rsi", horizon_sessions=5000))
    assert set(document.data["strategies"][0]["schemes"]) == {"blocks", "independent"}


def test_every_renderer_takes_both_reports(home, capsys):
    ctx = wiring.build(home)
    documents = (run_montecarlo(ctx, FEW), run_stress(ctx, StressRequest(of_walk_forward=True)))
    for document in documents:
        assert json.loads(terminal.as_json(document))["schema"] == document.schema
        assert document.banners[0] in html.render(document)
        assert document.title in markdown.render(document)
        terminal.print_document(document)
        assert document.title in capsys.readouterr().out.replace("\n", "")


def test_without_a_walk_forward_both_say_what_to_run(tmp_path):
    ctx = wiring.build(tmp_path)
    with pytest.raises(MissingDataError, match="kobe walk-forward"):
        run_montecarlo(ctx, FEW)
    with pytest.raises(MissingDataError, match="kobe walk-forward"):
        run_stress(ctx, StressRequest(of_walk_forward=True))


def test_a_file_that_is_not_the_one_its_manifest_names_is_refused(home):
    path = next(iter((home / "wf_outputs" / "ibs_rsi").glob("split_*/equity_curve.parquet")))
    pl.read_parquet(path).with_columns(pl.col("return") * 2).write_parquet(path)
    with pytest.raises(SchemaError, match="manifest"):
        run_montecarlo(wiring.build(home), FEW)


def test_words_that_are_off_are_refused_with_the_words_there_are(home):
    ctx = wiring.build(home)
    with pytest.raises(UsageError, match="ibs_rsi, turtle_soup"):
        run_montecarlo(ctx, MonteCarloRequest(strategy="nonsense"))
    with pytest.raises(UsageError, match="above 0"):
        run_montecarlo(ctx, MonteCarloRequest(paths=0))
    with pytest.raises(UsageError, match="black_monday, covid"):
        run_stress(ctx, StressRequest(scenarios=("nonsense",)))
    with pytest.raises(UsageError, match="equity"):
        run_stress(ctx, StressRequest(equity_usd=0.0))


def test_an_empty_book_says_so_and_is_a_success(home, tmp_path):
    for folder in (home, tmp_path / "new"):
        document = run_stress(wiring.build(folder), StressRequest())
        assert document.exit_code is ExitCode.OK
        assert document.data["results"] == []
        assert "Nothing is held" in document.summary[0]
    assert audited(home)[-1]["payload"]["positions"] == 0


def test_the_fullest_book_is_the_account_s_on_its_most_exposed_close(home):
    ctx = wiring.build(home)
    subject = fullest(ctx)
    strategy = subject.of.rsplit(" ", 1)[-1]
    most = {s: curve(home, s).sort("exposure").row(-1, named=True) for s in ("ibs_rsi", "turtle_soup")}
    assert most[strategy]["exposure"] == max(row["exposure"] for row in most.values())
    assert subject.as_of == most[strategy]["date"]
    assert subject.book.equity_usd == pytest.approx(most[strategy]["equity_usd"], rel=1e-12)
    assert subject.book.gross_usd / subject.book.equity_usd == pytest.approx(most[strategy]["exposure"], rel=1e-9)
    assert all(h.stop is not None and h.stop < h.price * 1.2 for h in subject.book.holdings)
    assert np.mean([h.beta for h in subject.book.holdings]) == pytest.approx(1.0, abs=0.5)


def test_the_stress_of_that_book_loses_what_its_betas_say(home):
    ctx = wiring.build(home)
    document = run_stress(ctx, StressRequest(of_walk_forward=True))
    assert any("SYNTHETIC" in b for b in document.banners)
    results = {r["scenario"]: r for r in document.data["results"]}
    assert list(results) == list(SCENARIOS)
    book = fullest(ctx).book
    shock = SCENARIOS["black_monday"].days[0].close
    expected = -sum(h.shares * h.price * h.beta * shock for h in book.holdings)
    assert results["black_monday"]["median_loss_usd"] == pytest.approx(expected, rel=0.05)
    assert results["black_monday"]["loss_usd"] > results["black_monday"]["median_loss_usd"]
    assert "straight line" in results["covid"]["assumption"]
    assert results["covid"]["sessions"] == 23
    assert audited(home)[-1]["kind"] == "stress"
    one = run_stress(ctx, StressRequest(of_walk_forward=True, scenarios=("black_monday",)))
    assert one.data["results"] == [results["black_monday"]]


def test_the_same_holdings_in_a_smaller_account_may_not_survive(home):
    ctx = wiring.build(home)
    gross = fullest(ctx).book.gross_usd
    loan = StressRequest(of_walk_forward=True, scenarios=("black_monday",), equity_usd=gross * 0.3)
    [told] = run_stress(ctx, loan).data["results"]
    assert told["equity_before_usd"] == pytest.approx(gross * 0.3)
    assert told["survives"] is (told["deficit_usd"] == 0.0 and told["worst_usd"] > 0)
    poor = replace(loan, equity_usd=gross * 0.1)
    document = run_stress(ctx, poor)
    assert document.data["results"][0]["survives"] is False
    assert "Does not survive" in document.summary[1]
    assert document.exit_code is ExitCode.OK


def test_the_actual_book_is_the_broker_s_with_the_stops_that_rest_for_it(holding):
    ctx, day = holding
    subject = actual(ctx)
    account = ctx.broker.account()
    assert {h.symbol: h.sign * h.shares for h in subject.book.holdings} == account.positions
    assert subject.book.cash_usd == float(account.cash_usd)
    assert subject.as_of == day
    orders = desk.manager(ctx).orders().values()
    resting = {o.request.symbol: o.request.stop_price for o in orders if o.request.stop_price and not o.status.is_final}
    assert {h.symbol: h.stop for h in subject.book.holdings} == {s: float(p) for s, p in resting.items()}
    assert subject.book.equity_usd == pytest.approx(float(account.equity_usd), rel=0.01)
    assert all(0 < h.half_spread < 0.01 for h in subject.book.holdings)
    document = run_stress(ctx, StressRequest())
    assert document.data["positions"] == len(account.positions)
    assert document.data["results"][0]["stops_hit"] == len(account.positions)


def test_what_the_ledger_holds_and_the_broker_does_not_is_named_even_when_nothing_is_left(holding):
    ctx, _ = holding
    held = {p.symbol for p in desk.manager(ctx).book().positions}
    assert held
    document = run_stress(replace(ctx, broker=OtherBroker({})), StressRequest())
    assert document.data["results"] == []
    assert {note.partition(":")[0] for note in document.data["notes"]} == held
    assert all("kobe reconcile" in note for note in document.sections[0].lines)


class OtherBroker:
    """A broker that holds something the ledger does not know."""

    name = "other"

    def __init__(self, positions: dict[str, int]) -> None:
        self.positions = positions

    def account(self) -> Account:
        return Account(cash_usd=Decimal(500), equity_usd=Decimal(0), blocked=False, positions=self.positions)


def test_what_the_ledger_does_not_know_is_stressed_without_a_stop_and_says_so(home):
    ctx = wiring.build(home)
    subject = actual(replace(ctx, broker=OtherBroker({"SPY": -3})))
    [spy] = subject.book.holdings
    assert (spy.side, spy.shares, spy.stop) == (Side.SHORT, 3.0, None)
    assert spy.beta == pytest.approx(1.0)
    assert spy.own_volatility < 1e-9
    assert any("kobe reconcile" in note for note in subject.notes)
    with pytest.raises(MissingDataError, match="ZZZ"):
        actual(replace(ctx, broker=OtherBroker({"ZZZ": 1})))


def test_the_covid_path_is_the_recorded_one_where_the_store_holds_it(real_panel, synthetic_panel):
    covid = SCENARIOS["covid"]
    found = recorded(real_panel, covid, "SPY")
    assert "recorded days of SPY" in found.assumption
    assert len(found.days) == 23
    assert np.prod([1 + d.close for d in found.days]) - 1 == pytest.approx(-0.3392, abs=0.02)
    halted = [real_panel.calendar.offset(covid.span[0], k + 1) for k, d in enumerate(found.days) if d.stop_slip]
    assert halted == [date(2020, 3, d) for d in (9, 12, 16, 18)]
    assert {d.stop_slip for d in found.days} == {0.0, HALT_SLIP}
    assert recorded(synthetic_panel, covid, "SPY") is covid
    assert recorded(real_panel, covid, "NONE") is covid
    cut = real_panel.until(real_panel.calendar.number(covid.span[1]) - 1)
    assert recorded(cut, covid, "SPY") is covid
    other = next(s for s in real_panel.symbols if s != "SPY" and len(real_panel[s]) == len(real_panel["SPY"]))
    assert recorded(real_panel, covid, other) is covid
    assert recorded(real_panel, SCENARIOS["black_monday"], "SPY") is SCENARIOS["black_monday"]


def test_the_commands_speak_json_and_know_their_exit_codes(home, tmp_path):
    done = kobe(home, "montecarlo", "--strategy", "ibs_rsi", "--paths", "200", "--seed", "3", "--json")
    told = json.loads(done.stdout)
    assert (told["schema"], told["seed"], told["paths"]) == ("kobe.montecarlo/1", 3, 200)
    stressed = kobe(home, "stress", "--of-walk-forward", "--scenario", "covid", "--scenario", "flash_crash", "--json")
    assert [r["scenario"] for r in json.loads(stressed.stdout)["results"]] == ["covid", "flash_crash"]
    nothing = kobe(tmp_path / "new", "stress")
    assert (nothing.returncode, "Nothing is held" in nothing.stdout) == (0, True)
    assert kobe(home, "stress", "--scenario", "nonsense").returncode == 2
    assert kobe(tmp_path / "new", "montecarlo").returncode == 4
