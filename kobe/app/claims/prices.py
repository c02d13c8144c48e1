"""Split-adjusted prices rebuilt from tape prices and events, held against the file that came adjusted."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from kobe.app import corporate_actions, import_bars
from kobe.app.claims.defects import MAIN, bars_of
from kobe.app.context import Context
from kobe.core.panel import PRICE_COLUMNS

ROUNDING = 2e-6  # the file's prices have six decimals


def rebuilt_prices(ctx: Context, data: Path) -> dict[str, Any]:
    """Rebuild the prices of the tape file in an empty home and say which symbols differ.

    Args:
        ctx: of a home without bars.
        data: folder of the test data.

    Returns:
        Counts of bars and names, those that agree, and per differing symbol its bars and the median ratio.
    """
    raw = data / "equities_daily_raw_unadjusted.parquet"
    told = import_bars.provenance(raw.stem, "consolidated", "raw", "static-current")
    import_bars.run_import(ctx, import_bars.ImportRequest(file=raw, mapping={}, provenance=told))
    corporate_actions.run_actions_import(ctx, data / "corporate_actions.parquet", "file", dry_run=False)
    panel = ctx.store.panel()
    true = bars_of(data, MAIN).filter(pl.col("symbol").is_in(list(panel.symbols)))
    off = np.zeros(len(panel), dtype=np.bool_)
    for column in PRICE_COLUMNS:
        off |= np.abs(getattr(panel, column) / true.get_column(column).to_numpy() - 1) > ROUNDING
    ratios = true.with_columns(ratio=pl.Series(panel.close) / pl.col("close")).filter(pl.Series(off))
    differing = ratios.group_by("symbol").agg(pl.len(), pl.col("ratio").median()).sort("symbol").rows()
    return {
        "bars": len(panel), "names": len(panel.symbols), "equal_bars": int((~off).sum()),
        "equal_names": len(panel.symbols) - len(differing),
        "differing": [{"symbol": s, "bars": n, "ratio": ratio} for s, n, ratio in differing],
    }  # fmt: skip
