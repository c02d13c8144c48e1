"""Sources of daily bars: one module each behind `kobe.data.delivery.Provider`. Imports core and infra.

To add one: a module here with a class that takes a `ProviderKit`, and one line below; tests/contract/test_providers.py
then runs over it. `files` and `synthetic` are read by `kobe data import` and `kobe demo` and need no network.
"""

from collections.abc import Callable

from kobe.data.delivery import Provider
from kobe.data.providers.alpaca import Alpaca
from kobe.data.providers.kit import ProviderKit
from kobe.data.providers.polygon import Polygon
from kobe.data.providers.stooq import Stooq
from kobe.data.providers.yahoo import Yahoo

PROVIDERS: dict[str, Callable[[ProviderKit], Provider]] = {
    "polygon": Polygon,
    "yahoo": Yahoo,
    "stooq": Stooq,
    "alpaca": Alpaca,
}
