"""Settings: typed, frozen, unknown keys refused. `config/kobe.toml` shows every key with its unit and reason.

Precedence, strongest first: environment (`KOBE_SECTION__KEY`), `.env` in the home, `--config FILE` or the home's
`config/kobe.toml`, the user's file, defaults.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from kobe.app.operation_settings import NotifySettings, ScheduleSettings, Section, ServiceSettings, WatchSettings
from kobe.core.errors import ConfigError


class RunSettings(Section):
    """What kind of trading this home does."""

    mode: Literal["sim", "paper", "live"] = "sim"
    seed: int = 81


class CalendarSettings(Section):
    """Corrections to the exchange calendar."""

    extra_closures: tuple[date, ...] = ()


class MarketSettings(Section):
    """What describes the market as a whole."""

    symbol: str = "SPY"


class DataSettings(Section):
    """Where bars come from and where they are kept."""

    store_url: str = ""
    providers: tuple[str, ...] = ("polygon", "yahoo")
    adjustment: Literal["raw", "split"] = "raw"
    alpaca_feed: Literal["iex", "sip"] = "iex"
    universe: str = ""
    base_urls: dict[str, str] = Field(default={})


class EarningsSettings(Section):
    """Whether entries keep away from earnings announcements."""

    enabled: bool = False
    before_sessions: int = Field(default=1, ge=0, le=10)
    after_sessions: int = Field(default=1, ge=0, le=10)
    unknown: Literal["refuse", "pass"] = "refuse"
    trusted: tuple[Literal["announcement", "filing_seen"], ...] = ("announcement",)


class WalkForwardSettings(Section):
    """Windows in sessions, and how parameters are chosen inside training."""

    train_sessions: int = Field(default=252, ge=20)
    test_sessions: int = Field(default=63, ge=5)
    warm_up_sessions: int = Field(default=250, ge=0)
    purge_sessions: int = Field(default=5, ge=5)
    least_trades: int = Field(default=20, ge=2)
    plateau: float = Field(default=0.8, ge=0.0, le=1.0)
    anchored: bool = False


class AccountSettings(Section):
    """The research account of the backtest."""

    cash_usd: float = Field(default=100_000.0, gt=0)
    risk_fraction: float = Field(default=0.01, gt=0, le=0.05)
    name_cap: float = Field(default=0.10, gt=0, le=1.0)
    max_positions: int = Field(default=10, ge=1)
    max_adv_share: float = Field(default=0.01, gt=0, le=0.1)
    delisting_haircut: float = Field(default=0.30, ge=0, le=1.0)


class CostRateSettings(Section):
    """Rates in force from a date on."""

    effective: date = date(1990, 1, 2)
    slippage_bps: float = Field(default=5.0, ge=0)
    half_spread_bps: tuple[tuple[float, float], ...] = ((50e6, 2.0), (10e6, 5.0), (0.0, 10.0))
    sec_fee_per_million_usd: float = Field(default=20.60, ge=0)
    borrow_rate_annual: float = Field(default=0.03, ge=0)


class CostSettings(Section):
    """The dated cost schedule."""

    rates: tuple[CostRateSettings, ...] = Field(default=(CostRateSettings(),), min_length=1)
    use_measured: bool = False

    @model_validator(mode="after")
    def _one_block_a_date(self) -> Self:
        """Two blocks of one date would leave it to their order which one holds."""
        dates = sorted(r.effective for r in self.rates)
        twice = [str(a) for a, b in pairwise(dates) if a == b]
        if twice:
            raise ValueError(f"two blocks of rates are effective {', '.join(twice)}")
        return self


class RiskSettings(Section):
    """Bounds of live and simulated orders."""

    order_max_usd: Decimal = Field(default=Decimal(75), gt=0)
    day_max_usd: Decimal = Field(default=Decimal(1000), gt=0)
    max_positions: int = Field(default=5, ge=0)
    max_per_symbol: int = Field(default=1, ge=1, le=10)
    min_price_usd: Decimal = Field(default=Decimal(5), ge=0)
    min_adv_usd: float = Field(default=5e6, ge=0)
    trust_iex_volume: bool = False
    max_spread: Decimal = Field(default=Decimal("0.02"), gt=0)
    quote_max_age_s: float = Field(default=15.0, gt=0)
    open_delay_s: float = Field(default=300.0, ge=0)
    close_margin_s: float = Field(default=120.0, ge=0)
    max_clock_skew_s: float = Field(default=2.0, gt=0, le=60)
    luld_margin: Decimal = Field(default=Decimal("0.005"), ge=0, lt=Decimal("0.05"))
    limit_max_atr: Decimal = Field(default=Decimal("2.0"), gt=0)
    max_gross: Decimal = Field(default=Decimal("0.20"), gt=0, le=2)
    max_name: Decimal = Field(default=Decimal("0.05"), gt=0, le=1)
    max_sector: Decimal = Field(default=Decimal("0.10"), gt=0, le=2)
    max_correlation: float = Field(default=0.70, gt=0.0, le=1.0)
    day_drawdown: Decimal = Field(default=Decimal("0.08"), gt=0, le=1)
    month_drawdown: Decimal = Field(default=Decimal("0.20"), gt=0, le=1)
    min_size: Decimal = Field(default=Decimal("0.0025"), gt=0, le=Decimal("0.02"))
    max_size: Decimal = Field(default=Decimal("0.02"), gt=0, le=Decimal("0.05"))
    max_adv_share: Decimal = Field(default=Decimal("0.01"), gt=0, le=Decimal("0.1"))
    leverage: Decimal = Field(default=Decimal(1), ge=1, le=2)
    allow_shorts: bool = False
    day_trade_policy: Literal["intraday_margin", "legacy_pdt", "off"] = "intraday_margin"


class BreakerSettings(Section):
    """What trips a circuit breaker."""

    daily_loss: Decimal = Field(default=Decimal("0.04"), gt=0, le=1)
    losing_streak: int = Field(default=4, ge=1)
    errors: int = Field(default=5, ge=1)
    errors_window_s: float = Field(default=600.0, gt=0)
    rejects_of_last: int = Field(default=6, ge=2)
    reject_rate: float = Field(default=0.5, gt=0, lt=1)
    stale_sessions: int = Field(default=0, ge=0, le=5)


class BrokerSettings(Section):
    """The broker of paper and live trading."""

    base_url: str = ""
    data_url: str = ""
    feed: Literal["iex", "sip"] = "iex"
    account_id: str = ""
    connect_timeout_s: float = Field(default=3.0, gt=0, le=30)
    read_timeout_s: float = Field(default=10.0, gt=0, le=60)
    poll_deadline_s: float = Field(default=10.0, gt=0, le=120)
    requests_per_minute: int = Field(default=180, ge=1, le=1000)


class ExitSettings(Section):
    """How a stop moves after the entry."""

    breakeven_r: float = Field(default=0.0, ge=0.0, le=10.0)
    trail_atr: float = Field(default=0.0, ge=0.0, le=20.0)


class RecordSettings(Section):
    """Where the ledger is kept and how long copies stay."""

    ledger_url: str = ""
    anchor: str = ""
    backups_kept: int = Field(default=14, ge=1, le=3660)


class MetaSettings(Section):
    """The meta-model."""

    shadow_sessions: int = Field(default=20, ge=0, le=252)
    weekly: bool = True


class ScanSettings(Section):
    """The evening list."""

    top: int = Field(default=3, ge=1, le=50)
    ensure_top: bool = True
    max_correlation: float = Field(default=0.70, gt=0.0, le=1.0)
    max_per_sector: int = Field(default=0, ge=0, le=50)
    sectors_file: str = ""
    regime: Literal["off", "market_trend"] = "off"
    sentiment_weight: float = Field(default=0.0, ge=0.0, le=0.4)


class SimSettings(Section):
    """The simulated broker."""

    cash_usd: Decimal = Field(default=Decimal(10_000), gt=0)
    no_fill_share: float = Field(default=0.03, ge=0, le=1)
    partial_share: float = Field(default=0.07, ge=0, le=1)
    reject_share: float = Field(default=0.0, ge=0, le=1)
    delay_s: float = Field(default=0.0, ge=0, le=600)
    halt_share: float = Field(default=0.0, ge=0, le=1)


class ComputeSettings(Section):
    """Where bulk work runs."""

    backend: Literal["serial", "processes", "dask"] = "serial"
    workers: int = Field(default=0, ge=0, le=1024)
    scheduler: str = ""
    arrays_url: str = ""


class Settings(Section):
    """Everything that can be set."""

    run: RunSettings = RunSettings()
    calendar: CalendarSettings = CalendarSettings()
    market: MarketSettings = MarketSettings()
    data: DataSettings = DataSettings()
    strategies: dict[str, dict[str, Any]] = Field(default={"ibs_rsi": {}, "turtle_soup": {}})
    earnings: EarningsSettings = EarningsSettings()
    walk_forward: WalkForwardSettings = WalkForwardSettings()
    account: AccountSettings = AccountSettings()
    costs: CostSettings = CostSettings()
    risk: RiskSettings = RiskSettings()
    breakers: BreakerSettings = BreakerSettings()
    broker: BrokerSettings = BrokerSettings()
    exits: ExitSettings = ExitSettings()
    records: RecordSettings = RecordSettings()
    meta: MetaSettings = MetaSettings()
    scan: ScanSettings = ScanSettings()
    sim: SimSettings = SimSettings()
    compute: ComputeSettings = ComputeSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    notify: NotifySettings = NotifySettings()
    watch: WatchSettings = WatchSettings()
    service: ServiceSettings = ServiceSettings()


ENV_PREFIX = "KOBE_"


def load(home: Path, config: Path | None) -> tuple[Settings, dict[str, str]]:
    """Read the settings and where each value came from.

    Args:
        home: kobe's home; its `config/kobe.toml` and `.env` are read when there.
        config: a file given on the command line instead of the home's. One that ends in `.json` holds every setting
            and is taken as it is, without `.env` and environment: so a runner tells its jobs what is in force.

    Raises:
        ConfigError: a file cannot be read, a key is unknown or a value out of bounds.
    """
    path = config or home / "config" / "kobe.toml"
    if path.suffix == ".json":
        return _whole(path)
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if config is not None or path.is_file():
        _overlay(merged, _read(path), str(path), origins)
    for name, variables in ((".env", dotenv(home / ".env")), ("environment", dict(os.environ))):
        _overlay(merged, _from_variables(variables), name, origins)
    settings = _checked(lambda: Settings.model_validate(merged), path)
    return settings, origins


def _whole(path: Path) -> tuple[Settings, dict[str, str]]:
    """Read settings that were written down whole."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path.name} cannot be read", seen=error, next_command="kobe config validate") from error
    settings = _checked(lambda: Settings.model_validate_json(text), path)
    return settings, {}


def _checked(read: Callable[[], Settings], path: Path) -> Settings:
    try:
        settings = read()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(p) for p in first["loc"])
        raise ConfigError(
            f"setting {key}: {first['msg']}", seen=first.get("input"), expected=f"see {path.name}",
            next_command="kobe config show",
        ) from error  # fmt: skip
    _check_strategies(settings)
    return settings


def _check_strategies(settings: Settings) -> None:
    from kobe.strategies import STRATEGIES

    for name, changes in settings.strategies.items():
        if name not in STRATEGIES:
            raise ConfigError("unknown strategy", seen=name, expected=", ".join(STRATEGIES))
        STRATEGIES[name].params(changes)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError("no such configuration file", seen=path) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path.name} cannot be read", seen=error, next_command="kobe config validate") from error


def dotenv(path: Path) -> dict[str, str]:
    """Read a `.env` file; one that is not there holds nothing."""
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    return {k: v for k, v in dotenv_values(path).items() if v is not None}


def _from_variables(variables: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in sorted(variables.items()):
        if name.startswith(ENV_PREFIX) and "__" in name:
            section, _, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
            found.setdefault(section, {})[key] = value
    return found


def _overlay(base: dict[str, Any], top: Mapping[str, Any], origin: str, origins: dict[str, str], at: str = "") -> None:
    for key, value in top.items():
        place = f"{at}{key}"
        if isinstance(value, Mapping):
            _overlay(base.setdefault(key, {}), value, origin, origins, f"{place}.")
        else:
            base[key] = value
            origins[place] = origin
