"""The made-up bars all sides read: 900 symbols over ten years, one file per column, the same for the same seed."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

SYMBOLS, SESSIONS, SEED = 900, 2_520, 81
COLUMNS = ("open", "high", "low", "close", "volume")
MARKET_VOL, OWN_VOL, GAP_SHARE, DRIFT = 0.009, 0.015, 0.25, 0.0003

Floats = npt.NDArray[np.float64]


def _bars(seed: int, symbols: int, sessions: int) -> dict[str, Floats]:
    """Random walks with a market factor, fat tails, overnight gaps and bridge extremes, in whole cents."""
    rng = np.random.default_rng(seed)
    beta = rng.normal(1.0, 0.25, (symbols, 1))
    total = MARKET_VOL * beta * rng.standard_t(5, (1, sessions)) + OWN_VOL * rng.standard_t(5, (symbols, sessions))
    overnight = np.sqrt(GAP_SHARE) * rng.standard_normal((symbols, sessions)) * OWN_VOL
    close = np.log(rng.uniform(30.0, 150.0, (symbols, 1))) + np.cumsum(0.77 * total + overnight + DRIFT, axis=1)
    close += np.log(40.0) / 40.0 * np.maximum(0.0, 3.0 - close)  # cents stay small against the price
    before = np.concatenate((close[:, :1], close[:, :-1]), axis=1)
    opened = before + overnight
    reach = (close - opened) ** 2
    variance = 2.0 * OWN_VOL**2
    up, down = (np.sqrt(reach - variance * np.log(1.0 - rng.random(close.shape))) for _ in range(2))
    logs = {"open": opened, "high": (opened + close + up) / 2, "low": (opened + close - down) / 2, "close": close}
    found = {name: np.round(np.exp(value) * 100.0) / 100.0 for name, value in logs.items()}
    found["volume"] = np.round(3e7 / found["close"] * np.exp(rng.normal(0.0, 0.3, close.shape)))
    return found


def write(folder: Path, *, seed: int = SEED, symbols: int = SYMBOLS, sessions: int = SESSIONS) -> None:
    """Make the market and write it as float64[symbols, sessions] per column, unless it is there."""
    if (folder / "done").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in _bars(seed, symbols, sessions).items():
        np.save(folder / f"{name}.npy", values)
    (folder / "done").touch()


def read(folder: Path, sessions: int | None = None) -> dict[str, Floats]:
    """Return the last sessions of every column, float64[symbols, sessions]; all of them by default."""
    arrays = {name: np.load(folder / f"{name}.npy") for name in COLUMNS}
    first = 0 if sessions is None else arrays["close"].shape[1] - sessions
    return {name: np.ascontiguousarray(values[:, first:]) for name, values in arrays.items()}


def stretched(bars: dict[str, Floats], *, copies: int = 1, spans: int = 1) -> dict[str, Floats]:
    """Return the bars with so many times the symbols and the sessions, for the table of growth."""
    return {name: np.tile(values, (copies, spans)) for name, values in bars.items()}
