"""The file a person reads says what the code does."""

import tomllib
from datetime import date
from pathlib import Path

import pytest

from kobe.app.config import flatten
from kobe.app.context import cost_model
from kobe.app.settings import Settings, load
from kobe.core.errors import ConfigError
from kobe.strategies import STRATEGIES

ROOT = Path(__file__).resolve().parents[2]


def test_the_shipped_file_names_every_setting_with_its_default(tmp_path):
    shipped, _ = load(tmp_path, ROOT / "config" / "kobe.toml")
    plain = Settings()
    for section in type(plain).model_fields:
        if section != "strategies":
            assert getattr(shipped, section) == getattr(plain, section), section
    for name, strategy in STRATEGIES.items():
        assert strategy.params(shipped.strategies[name]) == strategy.defaults
        assert set(shipped.strategies[name]) == set(strategy.params({}).__dataclass_fields__)
    text = tomllib.loads((ROOT / "config" / "kobe.toml").read_text(encoding="utf-8"))
    written = {k for k in flatten(text) if not k.startswith(("strategies", "costs"))}
    assert written == {k for k in flatten(plain.model_dump()) if not k.startswith(("strategies", "costs"))}


BLOCK = "[[costs.rates]]\neffective = {}\nborrow_rate_annual = {}\n"


def test_costs_may_change_at_dates_and_each_rate_holds_from_its_own(tmp_path):
    file = tmp_path / "kobe.toml"
    file.write_text(BLOCK.format("2020-06-01", 0.10) + BLOCK.format("1990-01-02", 0.02), encoding="utf-8")
    model = cost_model(load(tmp_path, file)[0])
    assert [model.at(day).borrow_rate_annual for day in (date(2020, 5, 29), date(2020, 6, 1))] == [0.02, 0.10]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BLOCK.format("2020-06-01", 0.1) + BLOCK.format("2020-06-01", 0.2), "2020-06-01"),
        ("[costs]\nrates = []\n", "rates"),
        (BLOCK.format("2020-06-01", -0.1), "borrow_rate_annual"),
    ],
)
def test_rates_that_are_none_negative_or_twice_of_one_date_are_refused(tmp_path, text, said):
    file = tmp_path / "kobe.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, file)


def test_every_setting_has_a_comment_or_a_commented_twin():
    lines = (ROOT / "config" / "kobe.toml").read_text(encoding="utf-8").splitlines()
    commented, bare = set(), set()
    for line in lines:
        if "=" in line and not line.startswith("#"):
            (commented if "#" in line else bare).add(line.split("=")[0].strip())
    assert bare - commented <= {"cash_usd", "effective", "top", "quote_max_age_s", "max_positions"}
