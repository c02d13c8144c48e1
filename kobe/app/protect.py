"""The order that guards an open position: placed after the fill, kept at what is held, put back when it is gone."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

import numpy as np

from kobe.app import desk, order_facts
from kobe.app.context import Context
from kobe.core.errors import ExternalError, IntegrityError, KobeError
from kobe.core.panel import Panel
from kobe.core.ports import Quote
from kobe.core.types import ClearedOrder, Effect, Order, OrderRequest, OrderType, Position, Side, TradePlan
from kobe.core.units import BPS
from kobe.execution import corporate, exits, stops
from kobe.execution.corporate import Split
from kobe.execution.oms import SEARCH_S, Oms
from kobe.execution.stops import Close, Entry, Levels, StopRule
from kobe.risk import review

LATE_SHARES_S = (0.0, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What became of a position's protection: the order that was placed, and what a person should know."""

    order: Order | None = None
    note: str = ""


def protect(ctx: Context, oms: Oms, past: Panel, signal_id: str) -> Order | None:
    """Make sure an open position has its resting stop (and target); returns the order when one was placed."""
    return guard(ctx, oms, past, signal_id).order


def guard(ctx: Context, oms: Oms, past: Panel, signal_id: str) -> Guard:
    """Make sure that what rests is for the shares held and where the stop stands now.

    Nothing is placed while a closing order may still act: both could sell. A stop is only ever moved towards the
    market; where moving it fails, the one before stays.

    Returns:
        The order that was placed, if any, and what a person should know. Only damaged records are raised.
    """
    position = position_of(oms, signal_id)
    plan = oms.plans().get(signal_id)
    if position is None:
        return Guard()
    if plan is None:
        return Guard(note=f"{position.symbol}: no plan on record, so no protective order")
    try:
        if _may_close(ctx, oms, signal_id):
            return Guard(note=f"{position.symbol}: not protected while a closing order may still act")
        found = _known_guard(ctx, oms, past, signal_id)
        wanted = levels(ctx, oms, past, position, plan)
        if found is None:
            return _place(ctx, oms, past, position, plan, wanted)
        return _keep(ctx, oms, past, found, wanted)
    except IntegrityError:
        raise
    except KobeError as error:
        return Guard(note=f"{position.symbol}: protection not known: {error.message}")


def _may_close(ctx: Context, oms: Oms, signal_id: str) -> bool:
    """Say whether a closing order may still act.

    Once its session is over, one that the broker does not know after it was looked for as long as any lost order
    never arrived: orders of a day do not outlive it.
    """
    known = exits.pending_close(oms.unfinished().values(), signal_id)
    if known is None or not exits.was_never_told(known):
        return known is not None
    session, name = known.request.session, known.request.client_order_id
    if ctx.clock.now() < ctx.calendar.closes_at(session):
        return True
    for pause in SEARCH_S:
        ctx.wait(pause)
        if ctx.broker.lookup(name) is not None:
            break
    with suppress(ExternalError):  # about another order
        oms.refresh(ctx.calendar.next(session))
    return exits.pending_close(oms.unfinished().values(), signal_id) is not None


def bars(ctx: Context) -> tuple[Panel, str]:
    """Return the complete bars; none at all, and why, where they cannot be read: closing and guarding need none."""
    try:
        return desk.last_panel(ctx), ""
    except IntegrityError:
        raise
    except KobeError as error:
        o, h, lo, c, volume, factor = (np.zeros(0) for _ in range(6))
        begin, session = np.zeros(1, np.int64), np.zeros(0, np.int32)
        empty = Panel((), begin, session, o, h, lo, c, volume, factor, calendar=ctx.calendar)
        return empty, error.message


def position_of(oms: Oms, signal_id: str) -> Position | None:
    """Return the open position of a signal."""
    return next((p for p in oms.book().positions if p.signal_id == signal_id), None)


def uncovered(oms: Oms) -> list[Position]:
    """Return the positions for which no order at the broker is known to guard every share."""
    open_, plans, positions = oms.unfinished().values(), oms.plans(), oms.book().positions
    guarded = {
        (o.request.signal_id, o.remaining)
        for p in positions
        for o in exits.guards(open_, p.signal_id)
        if exits.is_at_broker(o)
    }
    return [
        p for p in positions if p.signal_id in plans and (p.signal_id, p.quantity) not in guarded
    ]  # fmt: skip


def sweep(ctx: Context, oms: Oms) -> tuple[list[str], list[str]]:
    """Cancel what guards a signal that holds nothing: it would sell what is not there.

    Returns:
        What was done, and what a person must look at.
    """
    done, left = list[str](), list[str]()
    for known in exits.guards_of_nothing(oms.unfinished().values(), oms.book().positions):
        name = known.request.client_order_id
        try:
            ended = oms.cancel(name)
        except IntegrityError:
            raise
        except KobeError as error:
            left.append(f"{name} guards nothing and could not be cancelled: {error.message}")
            continue
        if ended.status.is_final:
            done.append(f"{name} guarded nothing: {ended.status.word}, {ended.filled} filled")
        elif not exits.was_never_told(ended):
            left.append(f"{name} guards nothing and is {ended.status.word} after its cancel; it may sell short")
        elif known.request.session >= ctx.today:
            left.append(f"{name} guards nothing, and nobody knows yet whether it arrived")
    return done, left


def covered(oms: Oms, position: Position, stop: Decimal) -> bool:
    """Say whether an order at the broker guards every share held, at this stop or nearer to the market."""
    found = [o for o in exits.guards(oms.unfinished().values(), position.signal_id) if exits.is_at_broker(o)]
    return any(
        o.remaining == position.quantity and stops.nearer(position.side, stop, _stop_of(o)) == _stop_of(o)
        for o in found
    )


def _known_guard(ctx: Context, oms: Oms, past: Panel, signal_id: str) -> Order | None:
    """Return the protective order that rests, after one that may never have arrived was sent again by its name."""
    for known in exits.guards(oms.unfinished().values(), signal_id):
        if not exits.is_at_broker(known):
            cleared = clear(ctx, oms, past, known.request)
            if cleared is not None:
                oms.submit(cleared)
    return exits.resting(oms.unfinished().values(), signal_id)


def _keep(ctx: Context, oms: Oms, past: Panel, found: Order, wanted: Levels) -> Guard:
    """Leave a resting order as it is, or put one in its place for other shares or a stop nearer to the market."""
    r = found.request
    position = position_of(oms, r.signal_id)
    plan = oms.plans()[r.signal_id]
    if position is None:
        return Guard()
    stale = in_old_shares(oms, found, position)
    stop = wanted.stop if stale else stops.nearer(r.side, wanted.stop, _stop_of(found))
    if not stale and found.remaining == position.quantity and stop == _stop_of(found):
        return Guard()
    better = replace(wanted, stop=stop)
    plain = r.order_type is OrderType.GTC_STOP and better.target is None
    if plain and not stale and not found.filled:
        return _amend(ctx, oms, past, found, _wish(ctx, oms, position, plan, better))
    return _renew(ctx, oms, past, found, better)


def _amend(ctx: Context, oms: Oms, past: Panel, found: Order, wish: OrderRequest) -> Guard:
    """Put one order in the place of another at the broker; whatever goes wrong, the old one is not given up."""
    stays = f"{wish.symbol}: the stop at {found.request.stop_price} for {found.remaining} shares stays"
    cleared = clear(ctx, oms, past, wish)
    if cleared is None:
        return Guard(note=f"{stays}; a gate refused the new one")
    try:
        made = oms.amend(found.request.client_order_id, cleared)
    except IntegrityError:
        raise
    except KobeError as error:
        return Guard(note=f"{stays} or was replaced, nobody knows yet: {error.message}")
    if made.status.is_final and not made.filled:
        return Guard(note=f"{stays}; the new one at {wish.stop_price} is {made.status.word}: {made.detail}")
    return Guard(order=made)


def _renew(ctx: Context, oms: Oms, past: Panel, found: Order, wanted: Levels) -> Guard:
    """Cancel a resting order, wait until it is final, and place another; where that fails, the old prices again."""
    r = found.request
    ended = oms.cancel(r.client_order_id)
    if not ended.status.is_final:
        return Guard(note=f"{r.symbol}: {r.client_order_id} is not final after its cancel, so it was not replaced")
    position = position_of(oms, r.signal_id)
    if position is None:
        return Guard()
    plan = oms.plans()[r.signal_id]
    made = _place(ctx, oms, past, position, plan, wanted)
    if made.order is not None and not (made.order.status.is_final and not made.order.filled):
        return made
    if in_old_shares(oms, found, position) or r.stop_price in (None, wanted.stop):
        return made
    before = Levels(stop=_stop_of(found), target=r.limit_price)
    again = _place(ctx, oms, past, position, plan, before)
    return replace(again, note=f"{made.note}; put back at {before.stop}. {again.note}".strip())


def _place(ctx: Context, oms: Oms, past: Panel, position: Position, plan: TradePlan, wanted: Levels) -> Guard:
    held = _held_at_broker(ctx, position)
    if held < position.quantity:
        told = (
            f"{position.symbol}: UNPROTECTED, the broker holds {held} of our {position.quantity}; next: kobe reconcile"
        )
        return Guard(note=f"{told}; next: kobe reconcile")
    wish = _wish(ctx, oms, position, plan, wanted)
    cleared = clear(ctx, oms, past, wish)
    if cleared is None:
        return Guard(note=f"{position.symbol}: UNPROTECTED, a gate refused the stop at {wanted.stop}")
    made = oms.submit(cleared)
    if not made.status.is_final:  # a broker takes an order first and may end it a moment later
        with suppress(ExternalError):
            oms.refresh(ctx.today)
        made = oms.order(made.request.client_order_id) or made
    bare = made.status.is_final and position_of(oms, position.signal_id) is not None  # a part it sold guards no rest
    return Guard(order=made, note=f"{position.symbol}: UNPROTECTED, the stop at {wanted.stop} is {made.status.word}: "
                 f"{made.detail}" if bare else "")  # fmt: skip


def _held_at_broker(ctx: Context, position: Position) -> int:
    """Return the broker's shares of a position; after a fill they may come a moment later than the fill."""
    sign = 1 if position.side is Side.LONG else -1
    held = 0
    for pause in LATE_SHARES_S:
        ctx.wait(pause)
        held = sign * ctx.broker.account().positions.get(position.symbol, 0)
        if held >= position.quantity:
            break
    return max(held, 0)


def _wish(ctx: Context, oms: Oms, position: Position, plan: TradePlan, wanted: Levels) -> OrderRequest:
    attempt = exits.next_attempt(oms.orders().values(), position.signal_id, exits.PROTECT)
    return exits.protection(position, plan, wanted, ctx.today, attempt)


def clear(ctx: Context, oms: Oms, past: Panel, wish: OrderRequest, quote: Quote | None = None) -> ClearedOrder | None:
    """Ask every gate about an order that closes; its own name from before is no duplicate."""
    facts = order_facts.gather(ctx, oms, wish, quote, past, again=True)
    verdicts = review.review(wish, facts, ctx.limits)
    cleared = review.clear(wish, verdicts)
    if cleared is None:
        codes = [v.code for v in review.refusals(verdicts)]
        ctx.audit.append("exit_refused", {"client_order_id": wish.client_order_id, "codes": codes})
    return cleared


# -- where the stop stands -------------------------------------------------------------------------------------


def levels(ctx: Context, oms: Oms, past: Panel, position: Position, plan: TradePlan) -> Levels:
    """Return where stop and target of a position stand today, in today's shares and raw dollars."""
    rule = StopRule(**ctx.settings.exits.model_dump())
    changes = splits_on_record(oms)
    entry = _entry(ctx, oms, past, position, plan, changes)
    closes = () if rule.is_off else raw_closes(past, plan.symbol, plan.entry_session, changes)
    return stops.levels(entry, rule, closes, ctx.today)


def splits_on_record(oms: Oms) -> tuple[Split, ...]:
    """Return the splits the ledger knows of."""
    return corporate.splits(oms.ledger.events(corporate.STREAM))


def raw_closes(past: Panel, symbol: str, first: date, changes: Iterable[Split]) -> tuple[Close, ...]:
    """Return the closes of a symbol from a session on, as raw dollars of a share of now.

    The price on the tape of a day is a fact; only the splits this ledger has carried through turn it.
    """
    if symbol not in past.symbols:
        return ()
    mine, known, found = past[symbol], tuple(changes), []
    start = int(np.searchsorted(mine.session, past.calendar.number(first)))
    for row in range(start, len(mine)):
        day = past.calendar.sessions[mine.session[row]]
        ratio = corporate.ratio_after(known, symbol, past.calendar.closes_at(day))
        raw = float(mine.close[row]) * float(past.raw_factor[mine.first_row + row])
        found.append(Close(session=day, price=raw / float(ratio)))
    return tuple(found)


def _entry(
    ctx: Context, oms: Oms, past: Panel, position: Position, plan: TradePlan, changes: tuple[Split, ...]
) -> Entry:
    """Turn a plan's adjusted dollars into raw ones of today.

    How the store adjusts may have changed since the plan was made; the raw close of the signal day over the plan's
    own number for it is what turns one into the other, whatever splits the store has learned of since.
    """
    signal_day = raw_closes(past, plan.symbol, plan.signal_date, changes)[:1]
    on_record = signal_day and signal_day[0].session == plan.signal_date
    if on_record:
        factor = signal_day[0].price / plan.reference_close
    else:  # the store then knew of no split that had not been yet
        factor = 1 / float(corporate.ratio_after(changes, plan.symbol, ctx.calendar.closes_at(plan.signal_date)))
    price = entry_price(oms, position, changes)
    return Entry(
        side=position.side, price=price,
        distance=None if plan.stop_distance is None else plan.stop_distance * factor,
        level=None if plan.stop_level is None else plan.stop_level * factor,
        target_r=plan.target_r, atr=plan.atr * factor, costs_usd=_costs(ctx, past, plan.symbol, price),
    )  # fmt: skip


def entry_price(oms: Oms, position: Position, changes: tuple[Split, ...]) -> float:
    """Return the average price of a position's opening fills, in shares of now; sales of a part do not move it."""
    shares, dollars = Decimal(0), Decimal(0)
    for known in oms.orders().values():
        if known.request.signal_id == position.signal_id and known.request.effect is Effect.OPEN:
            for fill in known.fills:
                ratio = corporate.ratio_after(changes, position.symbol, fill.at)
                shares += fill.quantity * Decimal(ratio.numerator) / ratio.denominator
                dollars += fill.price * fill.quantity
    return float(dollars / shares if shares else position.average_price)


def _costs(ctx: Context, past: Panel, symbol: str, price: float) -> float:
    """Return what buying and selling a share costs by the schedule: spread and slippage on both sides, fee on one."""
    if ctx.settings.exits.breakeven_r <= 0:
        return 0.0
    model, rates = ctx.costs, ctx.costs.at(ctx.today)
    adv = order_facts.standing(past, symbol).adv_usd
    half = float(model.half_spread(rates, np.array([price]), np.array([np.nan if adv is None else adv]))[0])
    side = half + rates.slippage_bps * BPS * model.multiplier
    return price * (2 * side + rates.sec_fee_per_million_usd / 1e6 * model.multiplier)


def in_old_shares(oms: Oms, found: Order, position: Position) -> bool:
    """Say whether a resting order was written before a split that its position went through, or before one's void."""
    placed, events = oms.fold.intended(found.request.client_order_id), oms.ledger.events(corporate.STREAM)
    told = [s for s in corporate.splits(events) if s.recorded > placed]
    told += [s for s, voided in corporate.voids(events) if voided > placed > s.recorded]
    return any(s.symbol == position.symbol and s.at > position.opened for s in told)


def _stop_of(order: Order) -> Decimal:
    return order.request.stop_price or Decimal(0)
