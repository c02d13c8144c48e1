"""What a use case is given: ports, settings and where things are kept, in one frozen bundle."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from kobe.app.entry_filter import EarningsFilter, EntryFilter, earnings_filter, entry_filter
from kobe.backtest.costs import CostModel, CostRates, cost_schedule
from kobe.core.calendar import Calendar
from kobe.core.clock import Clock, new_york_date
from kobe.core.messages import Notifier
from kobe.core.panel import Panel
from kobe.core.ports import Artifacts, AuditLog, Broker, Compute, Ledger, Progress, QuoteSource
from kobe.data import universe
from kobe.data.reference import ReferenceStore
from kobe.data.store import BarStore
from kobe.execution import slippage
from kobe.execution.order import OrderFold
from kobe.infra.kill_switch import FileKillSwitch
from kobe.learning.experiments import Experiments
from kobe.learning.registry import ModelRegistry
from kobe.risk.facts import Limits
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import BaseParams

from kobe.app.settings import Settings  # isort: skip

if TYPE_CHECKING:
    from kobe.backtest.engine import Assumptions


@dataclass(frozen=True, slots=True)
class Paths:
    """Folders and files of one kobe home; `outputs` sends reports and evidence into another folder."""

    home: Path
    outputs: Path | None = None

    @property
    def bars(self) -> Path:
        """The bar store."""
        return self.home / "data" / "bars"

    @property
    def quarantine(self) -> Path:
        """Bars set aside, for a person to look at."""
        return self.home / "data" / "quarantine"

    @property
    def universe(self) -> Path:
        """Universes by name."""
        return self.home / "data" / "universe"

    @property
    def reference(self) -> Path:
        """Earnings, headlines, VIX."""
        return self.home / "data" / "reference"

    @property
    def intraday(self) -> Path:
        """Intraday bars."""
        return self.home / "data" / "intraday"

    @property
    def incoming(self) -> Path:
        """Deliveries fetched and not yet in the store."""
        return self.home / "data" / "incoming"

    @property
    def state(self) -> Path:
        """Ledger, audit, models, locks, kill switch."""
        return self.home / "state"

    @property
    def audit(self) -> Path:
        """The audit chain."""
        return self.state / "audit"

    @property
    def locks(self) -> Path:
        """Leases."""
        return self.state / "locks"

    @property
    def arrays(self) -> Path:
        """Arrays shared with workers, by digest; may be deleted at any time."""
        return self.home / "cache" / "compute"

    @property
    def views(self) -> Path:
        """Sessions as the strategies saw them; may be deleted at any time."""
        return self.home / "cache" / "views"

    @property
    def walk_forward(self) -> Path:
        """Walk-forward artifacts by strategy."""
        return (self.outputs or self.home) / "wf_outputs"

    @property
    def reports(self) -> Path:
        """Reports and picks by session."""
        return (self.outputs or self.home) / "reports"

    def of_session(self, session: date) -> Path:
        """Where a session's picks and reports are kept."""
        return self.reports / session.isoformat()


class PanelCache:
    """Loads the panel once per process, masked by the configured universe, and again when store or universe changed."""

    def __init__(self, store: BarStore, universes: Path, name: str) -> None:
        self._store = store
        self._universes = universes
        self._name = name
        self._state: tuple[str, str] | None = None
        self._panel: Panel | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Digests of the store and of the universe that the panel was loaded from."""
        self()
        assert self._state is not None
        return self._state

    def __call__(self) -> Panel:
        """Return the panel of the store as it is now."""
        chosen = universe.read(self._universes, self._name) if self._name else None
        state = (self._store.manifest().digest, chosen.proof["membership_sha256"] if chosen else "")
        if self._panel is None or state != self._state:
            panel = self._store.panel()
            self._panel = universe.masked(panel, chosen) if chosen else panel
            self._state = state
        return self._panel


@dataclass(frozen=True, kw_only=True)
class Context:
    """Ports, settings and run id; built only by `wiring`."""

    paths: Paths
    settings: Settings
    origins: dict[str, str]
    clock: Clock
    calendar: Calendar
    store: BarStore
    panel: PanelCache
    artifacts: Artifacts
    ledger: Ledger
    audit: AuditLog
    models: ModelRegistry
    experiments: Experiments
    kill_switch: FileKillSwitch
    broker: Broker
    quotes: QuoteSource
    compute: Compute
    fold: OrderFold
    wait: Callable[[float], None]
    notifier: Notifier
    run_id: str
    armed: bool = False
    progress: Progress | None = field(default=None)

    @property
    def today(self) -> date:
        """The date in New York."""
        return new_york_date(self.clock.now())

    @property
    def costs(self) -> CostModel:
        """The cost schedule of the settings, raised to the measured slippage where the settings say so."""
        model = cost_model(self.settings)
        if not self.settings.costs.use_measured:
            return model
        return slippage.with_measured(model, self.ledger.events(slippage.STREAM))

    @property
    def limits(self) -> Limits:
        """The risk limits of the settings."""
        told = self.settings.risk.model_dump()
        return Limits(order_usd=told.pop("order_max_usd"), day_usd=told.pop("day_max_usd"), **told)

    @property
    def reference(self) -> ReferenceStore:
        """The small tables beside the bars."""
        return ReferenceStore(self.paths.reference, self.artifacts)

    @property
    def entry_filter(self) -> EntryFilter | None:
        """What holds entries back, or None where nothing does."""
        return entry_filter(self.settings, self.reference)

    @property
    def earnings_filter(self) -> EarningsFilter | None:
        """What keeps entries away from earnings, or None where that is off."""
        return earnings_filter(self.settings.earnings, self.reference)

    def assumptions(self) -> "Assumptions":
        """Return the backtest's assumptions of the settings."""
        from kobe.backtest.account import Terms
        from kobe.backtest.engine import Assumptions

        a = self.settings.account
        terms = Terms(a.cash_usd, a.risk_fraction, a.name_cap, a.max_positions, a.max_adv_share)
        held_back = self.entry_filter
        return Assumptions(
            costs=self.costs, delisting_haircut=a.delisting_haircut, terms=terms,
            entry_filter=held_back.allowed if held_back else None,
        )  # fmt: skip

    def strategy_params(self) -> dict[str, BaseParams]:
        """Return the configured base parameters by strategy."""
        return {name: STRATEGIES[name].params(changes) for name, changes in self.settings.strategies.items()}

    def with_progress(self, progress: Progress | None) -> "Context":
        """Return the same context with a progress callback."""
        return replace(self, progress=progress)


def cost_model(settings: Settings) -> CostModel:
    """Build the dated cost schedule."""
    return cost_schedule([CostRates(**rate.model_dump()) for rate in settings.costs.rates])
