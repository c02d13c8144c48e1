"""The bench prints no ratio unless both sides found the same trades: a planted difference in any column stops it."""

import numpy as np
import pytest

from scripts.bench.peers import market, trades

TRADES = {
    "group": [0, 0, 1], "symbol": [3, 1, 1], "entry": [5, 9, 9], "exit": [7, 9, 12],
    "entry_price": [10.0, 20.0, 20.0], "exit_price": [11.0, 19.0, 21.0],
}  # fmt: skip


def written(folder, name: str, **changes):
    path = folder / name
    trades.write(str(path), **TRADES | changes)
    return path


def test_the_same_trades_in_another_order_agree(tmp_path):
    turned = {name: values[::-1] for name, values in TRADES.items()}
    assert trades.compare(written(tmp_path, "a.npy"), written(tmp_path, "b.npy", **turned), "x") == 3


def test_only_the_first_symbols_are_compared_when_a_peer_ran_a_part(tmp_path):
    part = {name: values[1:] for name, values in TRADES.items()}
    assert trades.compare(written(tmp_path, "a.npy"), written(tmp_path, "b.npy", **part), "x", symbols=2) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"exit": [7, 9, 13]},
        {"symbol": [3, 1, 2]},
        {"group": [0, 0, 0]},
        {"entry_price": [10.0, 20.0, 20.0 * (1 + 1e-8)]},
        {"exit_price": [11.0, 19.0, 21.01]},
    ],
)
def test_a_difference_in_any_column_stops_the_bench(tmp_path, changes):
    with pytest.raises(SystemExit):
        trades.compare(written(tmp_path, "a.npy"), written(tmp_path, "b.npy", **changes), "x")


def test_a_missing_trade_and_no_trade_at_all_stop_the_bench(tmp_path):
    fewer = {name: values[:2] for name, values in TRADES.items()}
    none = {name: [] for name in TRADES}
    with pytest.raises(SystemExit):
        trades.compare(written(tmp_path, "a.npy"), written(tmp_path, "b.npy", **fewer), "x")
    with pytest.raises(SystemExit):
        trades.compare(written(tmp_path, "c.npy", **none), written(tmp_path, "d.npy", **none), "x")


def test_the_market_is_the_same_for_the_same_seed_and_its_bars_are_in_order(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        market.write(tmp_path / name, seed=seed, symbols=5, sessions=300)
    a, b, c = (market.read(tmp_path / name) for name in ("a", "b", "c"))
    assert all(np.array_equal(a[n], b[n]) for n in a)
    assert not np.array_equal(a["close"], c["close"])
    assert (a["low"] <= np.minimum(a["open"], a["close"])).all()
    assert (a["high"] >= np.maximum(a["open"], a["close"])).all()
    assert (a["low"] > 0).all()
