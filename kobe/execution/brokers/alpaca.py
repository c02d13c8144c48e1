"""Alpaca, paper and live, through alpaca-py (DOMAIN 4.1, 4.2).

An order is sent once and never again from here. Whoever hears nothing looks it up by its name before anything else.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

from kobe.core.clock import NEW_YORK, as_utc
from kobe.core.errors import ConfigError, ExternalError
from kobe.core.ports import Account, Asset, BrokerOrder, CashMove, CorporateChange, Quote
from kobe.core.types import OrderRequest, OrderStatus, OrderType
from kobe.execution.brokers import alpaca_facts, alpaca_replies
from kobe.execution.brokers.alpaca_door import NO_SUCH_ORDER, Blocked, Door, Refusal, unbelievable
from kobe.execution.brokers.alpaca_wire import SYMBOL, order_body, order_fault, plain
from kobe.execution.brokers.kit import BrokerKit

ORDERS_PAGE, ACTIVITIES_PAGE, ACTIONS_PAGE = 500, 100, 1000
QUOTES_BATCH, ACTIONS_BATCH = 200, 100
CANCEL_WAIT_S, CANCEL_STEP_S = 10.0, 0.5
MOST_PAGES = 1000
_TICK = timedelta(microseconds=1)


def make(kit: BrokerKit) -> "AlpacaBroker":
    """Make the broker; keys, addresses and alpaca-py itself are wanted by the first request, not before."""
    return AlpacaBroker(kit)


@dataclass
class AlpacaBroker:
    """Orders, account and quotes of one Alpaca account."""

    kit: BrokerKit = field(repr=False)
    name: str = "alpaca"
    environment: str = field(init=False)
    door: Door = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.environment, self.door = self.kit.mode, Door(self.kit)

    def keys_fault(self) -> str:
        """Return what is wrong between mode, address and keys, or nothing; no order is sent while it stands."""
        return self.door.fault()

    # -- orders ------------------------------------------------------------------------------------------------

    def submit(self, request: OrderRequest) -> BrokerOrder:
        """Send an order once.

        What the broker refuses in its own words is REJECTED, for no order exists then; what never left, because it
        could not be or the kill switch was there, is ABANDONED. A name used before returns the order that has it.

        Raises:
            ConfigError: keys or addresses are wrong; nothing was sent, or the broker refused the keys.
            ExternalError: nothing that can be believed was heard, which never means that nothing was done.
        """
        self._refuse_wrong_keys()
        asked = f"POST order {request.client_order_id}"
        return self._send(asked, request, lambda: self.door.trading.post("/orders", order_body(request)))

    def _send(self, asked: str, request: OrderRequest, call: Callable[[], object]) -> BrokerOrder:
        fault = order_fault(request)
        if fault:
            return self._unsent(request, fault)
        try:
            answer = self.door.ask(asked, call, lambda: self.kit.blocks(request))
        except Blocked as blocked:
            return self._unsent(request, f"kill switch before the wire: {blocked}")
        except Refusal as refusal:
            return self._refused(asked, request, refusal)
        return self._told(asked, answer, request=request)

    def _refused(self, asked: str, request: OrderRequest, refusal: Refusal) -> BrokerOrder:
        if refusal.status == 422:  # its code for a name used before is its code for much else
            row = self._find(request.client_order_id)
            if row is not None:
                return self._told(asked, row, request=request)
            if "client_order_id" in refusal.words:
                raise unbelievable(asked, f"{refusal}, yet no order has this name")
        return self._ended(request, OrderStatus.REJECTED, str(refusal))

    def replace(self, client_order_id: str, request: OrderRequest) -> BrokerOrder:
        """Put a resting order in the place of another and return the new one.

        A plain stop is moved in one request. A target-or-stop pair is cancelled, waited for and sent anew: for that
        moment nothing protects the position. REJECTED when the broker refuses. ABANDONED when nothing was sent,
        as for `submit`, and when the old one has filled in part or whole: fewer shares are left than the new one
        is for.

        Raises:
            ConfigError: as for `submit`.
            ExternalError: as for `submit`; or the old one is still live, and nothing new was sent.
        """
        self._refuse_wrong_keys()
        made = self.lookup(request.client_order_id)
        if made is not None:
            return made
        row = self._find(client_order_id)
        if row is None:
            raise ExternalError("there is no order to be replaced", seen=client_order_id, next_command="kobe reconcile")
        known = self._told(f"replace {client_order_id}", row, name=client_order_id)
        why = order_fault(request) or self.kit.blocks(request)
        if why:  # nothing is taken away that could not be put back
            return self._unsent(request, why)
        pair = alpaca_replies.is_pair(row) or request.order_type is not OrderType.GTC_STOP
        if not known.status.is_final and not pair:
            return self._refused_by_fills(known, request) or self._patch(row, request)
        if not known.status.is_final:
            known = self._cancelled(client_order_id)
        return self._refused_by_fills(known, request) or self.submit(request)

    def _patch(self, row: dict[str, Any], request: OrderRequest) -> BrokerOrder:
        body = {"qty": str(request.quantity), "stop_price": plain(request.stop_price),
                "client_order_id": request.client_order_id}  # fmt: skip
        path = _path_of(row)
        asked = f"PATCH order for {request.client_order_id}"
        return self._send(asked, request, lambda: self.door.trading.patch(path, body))

    def _refused_by_fills(self, known: BrokerOrder, request: OrderRequest) -> BrokerOrder | None:
        """Refuse a new order for shares that the old one may have sold, or that another one protects."""
        if known.status in (OrderStatus.FILLED, OrderStatus.REPLACED):
            return self._unsent(request, f"the order to be replaced is {known.status.word}")
        if known.filled:
            return self._unsent(request, f"the order to be replaced has filled {known.filled} shares")
        return None

    def _cancelled(self, name: str) -> BrokerOrder:
        """Cancel an order and wait until nothing can happen to it any more.

        Raises:
            ExternalError: it is still live after the wait.
        """
        known, waited = self.cancel(name), 0.0
        while known is not None and not known.status.is_final and waited < CANCEL_WAIT_S:
            self.kit.wait(CANCEL_STEP_S)
            waited += CANCEL_STEP_S
            known = self.lookup(name)
        if known is None or not known.status.is_final:
            raise ExternalError(
                "an order is still live after its cancel", seen=name, expected=f"an end within {CANCEL_WAIT_S:.0f} s",
                next_command="kobe reconcile",
            )  # fmt: skip
        return known

    def lookup(self, client_order_id: str) -> BrokerOrder | None:
        """Return an order by its name, or None when the broker says that it never saw it."""
        row = self._find(client_order_id)
        return None if row is None else self._told(f"GET order {client_order_id}", row, name=client_order_id)

    def cancel(self, client_order_id: str) -> BrokerOrder | None:
        """Ask to cancel an order and return where it stands, which may still be on the way."""
        row = self._find(client_order_id)
        asked = f"DELETE order {client_order_id}"
        if row is None:
            return None
        known = self._told(asked, row, name=client_order_id)
        if known.status.is_final:
            return known
        try:
            self.door.ask(asked, partial(self.door.trading.delete, _path_of(row)))
        except Refusal as refusal:
            if refusal.status not in (404, 422):
                raise refusal.fault(asked) from None
        return self.lookup(client_order_id)

    def orders(self, since: date | None = None) -> Iterable[BrokerOrder]:
        """Return every order of the account, or those placed from a New York date on and those still open."""
        start = None if since is None else as_utc(datetime.combine(since, time(0), NEW_YORK)) - _TICK
        rows = self._order_pages("all", start)
        if since is not None:
            rows |= self._order_pages("open", None)
        return alpaca_replies.every_order(rows.values(), "the orders")

    def _order_pages(self, status: str, start: datetime | None) -> dict[str, dict[str, Any]]:
        """Collect pages by id; each begins a moment before the last one ended, so that none of one instant is lost."""
        found: dict[str, dict[str, Any]] = {}
        asked, client, after = f"GET orders, {status}", self.door.trading, start
        for _ in range(MOST_PAGES):
            query: dict[str, Any] = {"status": status, "limit": ORDERS_PAGE, "nested": "true", "direction": "asc"}
            if after is not None:
                query["after"] = after.isoformat()
            page = alpaca_replies.list_of(self._read(asked, partial(client.get, "/orders", query)), asked)
            fresh = [row for row in page if str(row.get("id")) not in found]
            found |= {str(row.get("id")): row for row in page}
            if len(page) + sum(len(row.get("legs") or ()) for row in page) < ORDERS_PAGE:
                return found
            if not fresh:
                raise unbelievable(asked, f"{ORDERS_PAGE} orders of one instant")
            after = self._submitted(page[-1], asked) - _TICK
        raise unbelievable(asked, f"more than {MOST_PAGES} pages")

    @staticmethod
    def _submitted(row: dict[str, Any], asked: str) -> datetime:
        with alpaca_replies.believing(asked):
            return alpaca_replies.instant(row, "submitted_at" if row.get("submitted_at") else "created_at")

    def _find(self, name: str) -> dict[str, Any] | None:
        """Return the raw order of a name with its legs, or None when the broker says that there is none."""
        asked, client = f"GET order {name}", self.door.trading
        try:
            answer = self.door.ask(asked, partial(client.get_order_by_client_id, name))
        except Refusal as refusal:
            if refusal.status == 404 and (refusal.code == NO_SUCH_ORDER or "not found" in refusal.words):
                return None
            raise refusal.fault(asked) from None
        return self._with_legs(asked, alpaca_replies.object_of(answer, asked))

    def _with_legs(self, asked: str, row: dict[str, Any]) -> dict[str, Any]:
        if not alpaca_replies.needs_legs(row):
            return row
        answer = self._read(asked, partial(self.door.trading.get, _path_of(row), {"nested": "true"}))
        return alpaca_replies.object_of(answer, asked)

    def _told(self, asked: str, answer: object, *, name: str = "", request: OrderRequest | None = None) -> BrokerOrder:
        row = self._with_legs(asked, alpaca_replies.object_of(answer, asked))
        wanted = request.client_order_id if request is not None else name
        return alpaca_replies.order(row, asked, name=wanted, request=request)

    def _unsent(self, request: OrderRequest, why: str) -> BrokerOrder:
        return self._ended(request, OrderStatus.ABANDONED, f"not sent: {why}")

    def _ended(self, request: OrderRequest, status: OrderStatus, why: str) -> BrokerOrder:
        return BrokerOrder(
            client_order_id=request.client_order_id, symbol=request.symbol, quantity=request.quantity,
            is_buy=request.is_buy, status=status, filled=0, average_price=None, at=self.kit.clock.now(), detail=why,
        )  # fmt: skip

    # -- facts -------------------------------------------------------------------------------------------------

    def account(self) -> Account:
        """Return cash, equity, standing and positions."""
        client = self.door.trading
        told = self._read("GET account", client.get_account)
        return alpaca_facts.account(told, self._read("GET positions", client.get_all_positions))

    def now(self) -> datetime:
        """Return the instant by the broker's clock."""
        return alpaca_facts.now(self._read("GET clock", self.door.trading.get_clock))

    def sessions(self, first: date, last: date) -> dict[date, tuple[datetime, datetime]]:
        """Return open and close of each session of a span by the broker's calendar."""
        client, query = self.door.trading, {"start": first.isoformat(), "end": last.isoformat()}
        return alpaca_facts.sessions(self._read("GET calendar", partial(client.get, "/calendar", query)), first, last)

    def asset(self, symbol: str) -> Asset | None:
        """Return what may be done with a symbol, None when the broker does not know it."""
        if not SYMBOL.fullmatch(symbol):
            return None
        asked, client = f"GET asset {symbol}", self.door.trading
        try:
            answer = self.door.ask(asked, partial(client.get_asset, quote(symbol, safe="")))
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            raise refusal.fault(asked) from None
        return alpaca_facts.asset(answer, symbol)

    def cash_moves(self, since: date) -> tuple[CashMove, ...]:
        """Return what came and went by other means than fills, from a date on, oldest first."""
        asked, client, found = "GET activities", self.door.trading, dict[str, dict[str, Any]]()
        query: dict[str, Any] = {
            "category": "non_trade_activity", "direction": "asc", "page_size": ACTIVITIES_PAGE,
            "after": (since - timedelta(days=2)).isoformat(),  # it counts from when they were entered, not settled
        }  # fmt: skip
        for _ in range(MOST_PAGES):
            answer = self._read(asked, partial(client.get, "/account/activities", query))
            page = alpaca_replies.list_of(answer, asked)
            fresh = [row for row in page if str(row.get("id")) not in found]
            found |= {str(row.get("id")): row for row in fresh}
            if len(page) < ACTIVITIES_PAGE:
                return alpaca_facts.cash_moves(found.values(), since)
            if not fresh:
                raise unbelievable(asked, "the same page again")
            query["page_token"] = str(page[-1].get("id"))
        raise unbelievable(asked, f"more than {MOST_PAGES} pages")

    def corporate_changes(self, symbols: Sequence[str], session: date) -> tuple[CorporateChange, ...]:
        """Return what changes these holdings at the open of a session.

        The broker finds actions by the date it processes them, which is near the one that counts: a week is asked
        for on both sides.
        """
        held, groups = sorted(set(filter(SYMBOL.fullmatch, symbols))), dict[str, list[dict[str, Any]]]()
        for at in range(0, len(held), ACTIONS_BATCH):
            query = {
                "symbols": ",".join(held[at : at + ACTIONS_BATCH]), "limit": ACTIONS_PAGE,
                "start": (session - timedelta(days=7)).isoformat(), "end": (session + timedelta(days=7)).isoformat(),
            }  # fmt: skip
            for group, rows in self._action_pages(query):
                groups.setdefault(group, []).extend(rows)
        return alpaca_facts.corporate_changes(groups, held, session)

    def _action_pages(self, query: dict[str, Any]) -> Iterable[tuple[str, list[dict[str, Any]]]]:
        asked, client = "GET corporate actions", self.door.actions
        for _ in range(MOST_PAGES):
            answer = self._read(asked, partial(client.get, "/corporate-actions", query))
            page = alpaca_replies.object_of(answer, asked)
            groups = alpaca_replies.object_of(page.get("corporate_actions"), asked)
            yield from ((group, alpaca_replies.list_of(rows, asked)) for group, rows in groups.items())
            token = page.get("next_page_token")
            if not token:
                return
            if token == query.get("page_token"):
                raise unbelievable(asked, "the same page again")
            query = {**query, "page_token": str(token)}
        raise unbelievable(asked, f"more than {MOST_PAGES} pages")

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """Ask for the last quote and trade of many symbols in one request for each two hundred.

        Raises:
            ConfigError: the plan of the account does not allow the feed.
            ExternalError: nothing that can be believed was heard.
        """
        wanted, found = sorted(set(filter(SYMBOL.fullmatch, symbols))), dict[str, Quote]()
        client, feed = self.door.market, self.kit.feed
        for at in range(0, len(wanted), QUOTES_BATCH):
            batch = wanted[at : at + QUOTES_BATCH]
            query = {"symbols": ",".join(batch), "feed": feed}
            try:
                answer = self.door.ask("GET quotes", partial(client.get, "/stocks/snapshots", query))
            except Refusal as refusal:
                raise _feed_fault(refusal, feed) from None
            found |= {s: q for s, q in alpaca_facts.quotes(answer, feed).items() if s in batch}
        return found

    def _read(self, asked: str, call: Callable[[], object]) -> object:
        try:
            return self.door.ask(asked, call)
        except Refusal as refusal:
            raise refusal.fault(asked) from None

    def _refuse_wrong_keys(self) -> None:
        fault = self.keys_fault()
        if fault:
            raise ConfigError("no order is sent with these keys", seen=fault, expected="keys of the mode in run.mode",
                              next_command="kobe broker probe")  # fmt: skip


def _path_of(row: dict[str, Any]) -> str:
    return f"/orders/{quote(str(row.get('id')), safe='')}"


def _feed_fault(refusal: Refusal, feed: str) -> Exception:
    if refusal.status == 403:
        return ConfigError(
            "the account may not see this feed", seen=f"{feed}: {refusal.words}",
            expected='broker.feed = "iex", or a subscription', next_command="kobe config show --origin",
        )  # fmt: skip
    return refusal.fault("GET quotes")
