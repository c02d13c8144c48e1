"""The artifacts of a split: trade list, equity curve, parameters, trials, and a manifest that is written last."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from kobe import __version__
from kobe.app import tables
from kobe.backtest import account, fills
from kobe.backtest.folds import Fold
from kobe.backtest.walk_forward import Split, Trial, Tried, WalkForward
from kobe.core.errors import KobeError, MissingDataError, SchemaError
from kobe.core.ids import canonical_json, digest
from kobe.core.panel import Panel
from kobe.core.ports import Artifacts
from kobe.infra.records.artifacts import sha256_file
from kobe.reports.document import jsonable
from kobe.strategies.spec import BaseParams, Strategy


def folder_of(root: Path, strategy: str, number: int) -> Path:
    """Return the folder of a split."""
    return root / strategy / f"split_{number:02d}"


def inputs_digest(fold: Fold, data: str, strategy: Strategy, base: BaseParams, terms: Mapping[str, Any]) -> str:
    """Digest of everything a split's choice depends on; equal means the choice can be taken over.

    `data` covers the bars up to the last training session and no later ones: the choice sees nothing else.
    """
    grid = {name: list(values) for name, values in strategy.grid.items()}
    return digest([__version__, data, asdict(fold), strategy.name, asdict(base), grid, jsonable(dict(terms))])


def read_choice(folder: Path, fold: Fold, strategy: Strategy, wanted: str) -> Split | None:
    """Return the choice an earlier run made from the same inputs, or None."""
    try:
        document = json.loads((folder / "params.json").read_text(encoding="utf-8"))
        if document["inputs"] != wanted:
            return None
        trials = tuple(
            Trial(**{**t, "mean_r": _number(t["mean_r"]), "objective": _number(t["objective"])})
            for t in document["trials"]
        )
        return Split(
            fold=fold, params=strategy.params(document["params"]), params_hash=document["params_hash"],
            chosen_by=document["chosen_by"], why=document["why"], trials=trials,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def write_choice(artifacts: Artifacts, folder: Path, split: Split, inputs: str) -> dict[str, str]:
    """Write parameters and trials; returns file name -> digest. A torn file is noticed and made again."""
    document = {
        "inputs": inputs, "params": asdict(split.params), "params_hash": split.params_hash,
        "chosen_by": split.chosen_by, "why": split.why, "trials": jsonable([vars(t) for t in split.trials]),
    }  # fmt: skip
    facts = [{k: v for k, v in vars(t).items() if k != "params"} for t in split.trials]
    rows = [dict(sorted(t.params.items())) | fact for t, fact in zip(split.trials, facts, strict=True)]
    content = canonical_json(document).encode()
    files = {"params.json": artifacts.write(folder / "params.json", content, wait=False)}
    return files | tables.write_table(artifacts, folder / "trials", pl.DataFrame(rows), wait=False)


def write_tried(artifacts: Artifacts, folder: Path, tried: Tried, key: str) -> None:
    """Keep what every combination earned, under a key that names everything it depends on."""
    facts = {"key": key, "params": [asdict(p) for p in tried.params], "trades": list(tried.trades)}
    frame = pl.DataFrame(dict(zip(tried.params_hash, tried.returns.T, strict=True)))
    digests = tables.write_table(artifacts, folder / "tried", frame, wait=False)
    artifacts.write(folder / "tried.json", canonical_json(jsonable(facts | {"files": digests})).encode())


def read_tried(folder: Path, strategy: Strategy, key: str) -> Tried | None:
    """Return what an earlier run kept under the same key, or None; a torn file counts as none."""
    try:
        facts = json.loads((folder / "tried.json").read_text(encoding="utf-8"))
        path = folder / "tried.parquet"
        if facts["key"] != key or sha256_file(path) != facts["files"]["tried.parquet"]:
            return None
        frame = pl.read_parquet(path)
        return Tried(
            params=tuple(strategy.params(p) for p in facts["params"]), params_hash=tuple(frame.columns),
            trades=tuple(facts["trades"]), returns=frame.to_numpy(),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, KobeError, pl.exceptions.PolarsError):
        return None


def trades_frame(panel: Panel, record: WalkForward) -> pl.DataFrame:
    """Return every out-of-sample signal with its outcome and what the account did, split by split."""
    o, w, p = record.outcomes, record.outcomes.walked, record.portfolio
    days = panel.calendar.days
    quantity, net, skipped = np.zeros(len(o)), np.full(len(o), np.nan), np.full(len(o), -1)
    dividends, borrow = np.zeros(len(o)), np.zeros(len(o))
    quantity[p.offered], net[p.offered], skipped[p.offered] = p.quantity, p.net_usd, p.skipped
    dividends[p.offered], borrow[p.offered] = p.dividends_usd, p.borrow_usd
    entry = np.where(w.entry_row >= 0, panel.session[np.maximum(w.entry_row, 0)], 0)
    left = np.where(o.closed, o.exit_session, 0)
    frame = pl.DataFrame(
        {
            "split": record.split_number,
            "signal_date": pl.Series(days[o.session]).cast(pl.Date),
            "symbol": [panel.symbols[k] for k in o.symbol],
            "strategy": [record.strategy] * len(o),
            "side": np.where(o.side > 0, "long", "short"),
            "state": [fills.STATES[s] for s in w.state],
            "entry_date": pl.Series(days[entry]).cast(pl.Date),
            "exit_date": pl.Series(days[left]).cast(pl.Date),
            "entry": w.entry_price, "stop": w.stop, "target": w.target, "exit": w.exit_price,
            "entry_paid": o.entry_paid, "exit_got": o.exit_got,
            "exit_reason": [fills.REASONS[r] for r in w.reason],
            "ambiguous": w.ambiguous,
            "gross_r": o.gross_r, "net_r": o.net_r, "mae_r": o.mae_r, "mfe_r": o.mfe_r,
            "account": [account.SKIPS[s] if s >= 0 else "not_entered" for s in skipped],
            "quantity": quantity.astype(np.int64),
            "dividends_usd": dividends, "borrow_usd": borrow,
            "net_usd": net,
            "score": o.score, "atr": o.atr, "adv_usd": o.adv_usd,
            "params_hash": o.params_hash,
        }
    )  # fmt: skip
    entered, closed = pl.Series(w.entry_row >= 0), pl.Series(o.closed)
    return frame.with_columns(
        pl.when(entered).then("entry_date").alias("entry_date"), pl.when(closed).then("exit_date").alias("exit_date")
    )


def equity_frame(panel: Panel, record: WalkForward) -> pl.DataFrame:
    """Return the continuous account, one row per session of the test windows."""
    p = record.portfolio
    days = panel.calendar.days[p.first_session : p.first_session + len(p.equity_usd)]
    columns = {"equity_usd": p.equity_usd, "return": p.returns, "exposure": p.exposure}
    return pl.DataFrame({"date": pl.Series(days).cast(pl.Date), **columns})


def write_split(
    artifacts: Artifacts, folder: Path, split: Split, trades: pl.DataFrame, equity: pl.DataFrame, facts: dict[str, Any]
) -> dict[str, str]:
    """Write one split whole, its manifest last; a split with open trades says that it is not final yet."""
    files = write_choice(artifacts, folder, split, facts["inputs"])
    files |= tables.write_table(artifacts, folder / "trade_list", trades, wait=False)
    files |= tables.write_table(artifacts, folder / "equity_curve", equity, wait=False)
    open_trades = trades.filter(pl.col("state") == "open").height
    manifest = {**facts, "files": dict(sorted(files.items())), "open_trades": open_trades, "final": open_trades == 0}
    artifacts.write(folder / "manifest.json", canonical_json(jsonable(manifest)).encode())
    return files


def finished(root: Path, strategy: str) -> list[Path]:
    """Return the folders of the splits that were written whole, oldest first."""
    return sorted(m.parent for m in (root / strategy).glob("split_*/manifest.json"))


def read_last(
    root: Path, strategies: Sequence[str], table: Literal["trade_list", "equity_curve"]
) -> dict[str, pl.DataFrame]:
    """Return a table of the last walk-forward per strategy, its splits one after the other.

    A strategy that was not walked is left out.

    Raises:
        MissingDataError: none of them was walked.
        SchemaError: a file is not the one its manifest names.
    """
    found = {s: [_read_checked(f, f"{table}.parquet") for f in finished(root, s)] for s in strategies}
    if not any(found.values()):
        raise MissingDataError(
            "no walk-forward yet", seen=f"no finished split of {', '.join(strategies)} in {root.name}",
            next_command="kobe walk-forward",
        )  # fmt: skip
    return {s: pl.concat(frames) for s, frames in found.items() if frames}


def banners_of(root: Path, strategies: Sequence[str]) -> tuple[str, ...]:
    """Return the warnings the bars of the last walk-forward carried."""
    folders = [f for s in strategies for f in finished(root, s)]
    said = [b for f in folders for b in json.loads((f / "manifest.json").read_text(encoding="utf-8"))["banners"]]
    return tuple(dict.fromkeys(said))


def _read_checked(folder: Path, name: str) -> pl.DataFrame:
    named = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"].get(name)
    seen = sha256_file(folder / name)
    if seen != named:
        where = f"{folder.parent.name}/{folder.name}/{name}"
        raise SchemaError(
            f"{where} is not the file its manifest names", seen=seen[:16], expected=str(named)[:16],
            next_command="kobe walk-forward",
        )  # fmt: skip
    return pl.read_parquet(folder / name)
