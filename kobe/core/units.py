"""Conversions between research numbers (float64) and money (Decimal), and the few unit constants."""

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal, InvalidOperation

SESSIONS_PER_YEAR = 252
BPS = 1e-4
CENT = Decimal("0.01")


def to_decimal(value: float | str | Decimal) -> Decimal:
    """Convert at the order border.

    Goes through `str`, because `Decimal(0.1)` is not 0.1. NaN, infinities and words are refused.

    Raises:
        ValueError: the value is not a finite number.
    """
    msg = f"money must be a finite number, got {value!r}"
    try:
        result = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(msg) from error
    if not result.is_finite():
        raise ValueError(msg)
    return result


def to_cents(value: Decimal) -> Decimal:
    """Round a money amount to the cent, half to even."""
    return value.quantize(CENT, rounding=ROUND_HALF_EVEN)


def fee_cents(value: Decimal) -> Decimal:
    """Round a fee up to the cent, as brokers do; zero stays zero."""
    return value.quantize(CENT, rounding=ROUND_CEILING)
