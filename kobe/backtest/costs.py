"""What trading costs, as dated value objects: never a constant in a formula (DOMAIN 2.3)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from kobe.core.calendar import Calendar
from kobe.core.panel import Floats, Ints, Panel
from kobe.core.units import BPS

TICK_USD = 0.01
BORROW_YEAR_DAYS = 360.0  # brokers count a loan of shares by calendar days over 360 (Alpaca's margin terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRates:
    """Rates in force from a date on.

    Attributes:
        effective: first session they hold.
        slippage_bps: per side, on everything that takes liquidity; limit targets pay none.
        half_spread_bps: (ADV in dollars above which it holds, half-spread in bps), most liquid first; the last one
            holds for all the rest.
        sec_fee_per_million_usd: Section 31 fee on sales, dollars per million.
        borrow_rate_annual: what the loan of shares sold short costs a year, as a fraction of their market value.
    """

    effective: date
    slippage_bps: float
    half_spread_bps: tuple[tuple[float, float], ...]
    sec_fee_per_million_usd: float
    borrow_rate_annual: float = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """A schedule of rates, oldest first, and a multiplier for stress runs (`x2` doubles every rate)."""

    name: str
    rates: tuple[CostRates, ...]
    multiplier: float = 1.0
    least_half_spread_ticks: float = 0.5

    def times(self, factor: float) -> "CostModel":
        """Return the same schedule with every cost multiplied."""
        return replace(self, name=f"{self.name} x{factor:g}", multiplier=self.multiplier * factor)

    def at(self, day: date) -> CostRates:
        """Return the rates in force on a day; the oldest ones also before their date."""
        held = [r for r in self.rates if r.effective <= day]
        return held[-1] if held else self.rates[0]

    def half_spread(self, rates: CostRates, price: Floats, adv_usd: Floats) -> Floats:
        """Half the quoted spread as a fraction of the price: by liquidity tier, half a tick to the whole price."""
        floors = np.array([tier[0] for tier in rates.half_spread_bps])
        bps = np.array([tier[1] for tier in rates.half_spread_bps])
        above = adv_usd[:, None] > floors[None, :]  # an unknown ADV is above nothing and pays the widest spread
        tier = np.minimum((~above).sum(axis=1), len(bps) - 1)
        with np.errstate(divide="ignore", invalid="ignore"):  # what is written off whole has a price of 0
            half_tick = self.least_half_spread_ticks * TICK_USD / price
        result: Floats = np.minimum(np.fmax(bps[tier] * BPS, half_tick) * self.multiplier, 1.0)
        return result

    def traded_price(
        self, panel: Panel, rows: Ints, price: Floats, adv_usd: Floats, buys: Floats, takes: Floats
    ) -> Floats:
        """Price after spread and slippage, adjusted dollars.

        Args:
            panel: bars the rows index.
            rows: int64[n], bar of each fill; its session picks the rates.
            price: float64[n], fill before costs; NaN stays NaN.
            adv_usd: float64[n], liquidity known before the fill.
            buys: float64[n], +1 buying, -1 selling.
            takes: float64[n], 1 where the fill takes liquidity, 0 for limit targets.
        """
        cost = np.zeros(len(price))
        raw, several = price * panel.raw_factor[rows], len(self.rates) > 1
        which = self._in_force(panel, rows) if several else rows
        for k, rates in enumerate(self.rates):
            here = which == k if several else slice(None)
            with np.errstate(invalid="ignore"):
                spread = self.half_spread(rates, raw[here], adv_usd[here])
            cost[here] = spread + rates.slippage_bps * BPS * self.multiplier
        return price * (1.0 + buys * takes * cost)

    def fee_rate(self, panel: Panel, rows: Ints) -> Floats:
        """Fee on sales as a fraction of what is sold, by the session of each row."""
        fees = np.array([r.sec_fee_per_million_usd / 1e6 for r in self.rates])
        rates: Floats = (fees * self.multiplier)[self._in_force(panel, rows)]
        return rates

    def _in_force(self, panel: Panel, rows: Ints) -> Ints:
        """Which rates hold at each row's session, as `at` says: the oldest ones also before their date."""
        starts = np.array([np.datetime64(r.effective, "D").astype(np.int32) for r in self.rates])
        number = np.maximum(np.searchsorted(starts, panel.calendar.days, side="right") - 1, 0)
        return number[panel.session[rows]]

    def borrow_shares(self, calendar: Calendar, last_session: int) -> Floats:
        """Share of the previous close's short value that is charged in each session, at the rate of its date.

        Args:
            calendar: whose sessions are meant; the days since the session before count, three after a weekend.
            last_session: session number of the last one wanted.

        Returns:
            float64[last_session + 1], by session number; 0 in the calendar's first session.

        Source: DOMAIN 2.3, market value times rate over 360 per calendar day.
        """
        days = calendar.days[: last_session + 1]
        starts = np.array([np.datetime64(r.effective, "D").astype(np.int32) for r in self.rates])
        which = np.maximum(np.searchsorted(starts, days, side="right") - 1, 0)
        annual = np.array([r.borrow_rate_annual for r in self.rates])[which]
        result: Floats = annual * self.multiplier * np.diff(days, prepend=days[:1]) / BORROW_YEAR_DAYS
        return result


def no_costs() -> CostModel:
    """Return the explicit none: every fill at its bar's price."""
    return flat_costs(0.0)


def flat_costs(bps_per_side: float) -> CostModel:
    """Return a fixed cost per side in basis points and nothing else; for worked examples and comparisons."""
    rates = CostRates(
        effective=date(1990, 1, 2),
        slippage_bps=bps_per_side,
        half_spread_bps=((0.0, 0.0),),
        sec_fee_per_million_usd=0.0,
        borrow_rate_annual=0.0,
    )
    return CostModel(name=f"flat {bps_per_side:g} bp", rates=(rates,), least_half_spread_ticks=0.0)


def cost_schedule(rates: Sequence[CostRates]) -> CostModel:
    """Build the model from dated rates (configuration, `costs`), in any order."""
    return CostModel(name="schedule", rates=tuple(sorted(rates, key=lambda r: r.effective)))
