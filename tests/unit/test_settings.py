"""The file a person reads says what the code does."""

import tomllib
from pathlib import Path

from kobe.app.config import flatten
from kobe.app.settings import Settings, load
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


def test_every_setting_has_a_comment_or_a_commented_twin():
    lines = (ROOT / "config" / "kobe.toml").read_text(encoding="utf-8").splitlines()
    commented, bare = set(), set()
    for line in lines:
        if "=" in line and not line.startswith("#"):
            (commented if "#" in line else bare).add(line.split("=")[0].strip())
    assert bare - commented <= {"cash_usd", "effective", "top", "quote_max_age_s", "max_positions"}
