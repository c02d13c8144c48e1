"""The broker of the mode with all that it is given; made when something is first asked of it."""

import os
import time
from collections.abc import Callable

from kobe.app.context import PanelCache, Paths, cost_model
from kobe.app.settings import Settings, dotenv
from kobe.core.calendar import Calendar
from kobe.core.clock import Clock, SteppingClock
from kobe.core.errors import UsageError
from kobe.core.types import Effect
from kobe.execution.brokers import BROKERS
from kobe.execution.brokers.kit import BrokerKit, Keys, TradingDoor
from kobe.execution.brokers.sim_market import SimMarket
from kobe.execution.brokers.terms import SimTerms
from kobe.infra.clock import SystemClock
from kobe.infra.kill_switch import FileKillSwitch
from kobe.infra.records.ledger import SqlLedger
from kobe.infra.token_bucket import TokenBucket


def make(
    paths: Paths, settings: Settings, switch: FileKillSwitch, clock: Clock, wait: Callable[[float], None],
    panel: PanelCache, calendar: Calendar,
) -> TradingDoor:  # fmt: skip
    """Make the broker of the mode.

    Raises:
        UsageError: the time is pretended and the broker is a real one.
    """
    kit = _kit(paths, settings, switch, clock, wait, panel, calendar)
    if kit.mode != "sim" and isinstance(kit.clock, SteppingClock) and not kit.base_url:
        raise UsageError("a real broker knows no other time than its own", seen="--as-of", expected="run.mode = sim")
    return BROKERS[settings.run.mode](kit)


def _kit(
    paths: Paths, settings: Settings, switch: FileKillSwitch, clock: Clock, wait: Callable[[float], None],
    panel: PanelCache, calendar: Calendar,
) -> BrokerKit:  # fmt: skip
    sim, b, mode = settings.sim, settings.broker, settings.run.mode
    bucket = TokenBucket(paths.locks, f"broker-{mode}", capacity=b.requests_per_minute,
                         per_s=b.requests_per_minute / 60, clock=SystemClock(), sleep=time.sleep)  # fmt: skip
    return BrokerKit(
        clock=clock, wait=wait, mode=mode, books=SqlLedger(paths.state / "sim_broker.db", clock),
        market=SimMarket(bars=panel, calendar=calendar, clock=clock, costs=cost_model(settings)),
        terms=SimTerms(**sim.model_dump()), keys=_keys(paths, mode), base_url=b.base_url, data_url=b.data_url,
        feed=b.feed, timeouts=(b.connect_timeout_s, b.read_timeout_s), take_token=bucket.take,
        blocks=lambda request: switch.blocks(closing=request.effect is Effect.CLOSE),
    )  # fmt: skip


def _keys(paths: Paths, mode: str) -> Keys:
    """Read the pair of keys from the environment or `.env`; the simulated broker needs none."""
    if mode == "sim":
        return Keys()
    told = {**dotenv(paths.home / ".env"), **os.environ}
    return Keys(
        key_id=told.get("APCA_API_KEY_ID") or told.get("ALPACA_API_KEY") or "",
        secret=told.get("APCA_API_SECRET_KEY") or told.get("ALPACA_SECRET_KEY") or "",
    )
