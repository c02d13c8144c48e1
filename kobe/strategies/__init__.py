"""One file per strategy: bars in, signals out. Pure; imports core, features, options.

To add one: `NAME.py` with a frozen parameter class, `signals(panel, features, params)` and a `SPEC`,
then one line below. The contract tests run over this table by themselves.
"""

from kobe.strategies import ibs_rsi, turtle_soup
from kobe.strategies.spec import Strategy

STRATEGIES: dict[str, Strategy] = {
    "ibs_rsi": ibs_rsi.SPEC,
    "turtle_soup": turtle_soup.SPEC,
}
