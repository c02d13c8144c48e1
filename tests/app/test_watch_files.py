"""The files for Prometheus and Grafana speak of metrics that exist."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from kobe.app.watching.metrics import METRICS

OPS = Path(__file__).resolve().parents[2] / "ops"
NAMES = {m.name for m in METRICS}
METRIC = re.compile(r"\bkobe_[a-z_]+")


def rules():
    read = yaml.safe_load((OPS / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in read["groups"] for rule in group["rules"]]


def dashboard():
    return json.loads((OPS / "grafana" / "kobe.json").read_text(encoding="utf-8"))


def test_every_metric_of_the_rules_exists_and_each_rule_says_what_to_do():
    for rule in rules():
        used = set(METRIC.findall(rule["expr"]))
        assert used, rule["alert"]
        assert used <= NAMES, rule["alert"]
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["next"]
        assert rule["labels"]["severity"] in {"info", "warning", "urgent"}


def test_every_metric_of_the_dashboard_exists_and_nearly_all_that_exist_are_on_it():
    told = [t["expr"] for panel in dashboard()["panels"] for t in panel["targets"]]
    used = {name for expr in told for name in METRIC.findall(expr)}
    assert used <= NAMES
    assert NAMES - used <= {
        "kobe_info", "kobe_facts_timestamp_seconds", "kobe_audit_records", "kobe_job_overdue", "kobe_source_old",
        "kobe_model_present",
    }  # fmt: skip


def test_the_panels_lie_beside_each_other_within_the_grid_under_their_own_numbers():
    panels = dashboard()["panels"]
    taken = [
        (x, y)
        for p in panels
        for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
        for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
    assert len({p["id"] for p in panels}) == len(panels)


def test_prometheus_itself_takes_rules_and_scrape_settings():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    for words in (("check", "rules", "alerts.yml"), ("check", "config", "scrape.yml")):
        done = subprocess.run([promtool, *words], cwd=OPS / "prometheus", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
