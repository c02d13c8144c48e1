"""What is written for Prometheus is read back by its own parser as it was meant."""

import math
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from kobe.infra.exposition import Family, Sample, render

NAMES = st.text(string.ascii_letters + "_", min_size=1, max_size=12).filter(lambda n: not n.startswith("__"))
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20)
VALUES = st.one_of(st.floats(), st.integers(-(10**18), 10**18).map(float))
LABELS = st.dictionaries(NAMES, TEXTS, max_size=3)


@given(st.dictionaries(NAMES, st.tuples(TEXTS, st.lists(st.tuples(LABELS, VALUES), max_size=4)), max_size=4))
def test_every_finite_sample_comes_back_and_no_other(made):
    families, meant = [], {}
    for name, (text, told) in made.items():
        unique = list({tuple(sorted(labels.items())): (labels, value) for labels, value in told}.values())
        samples = tuple(Sample(value, labels) for labels, value in unique)
        families.append(Family(name=name, help=text, kind="gauge", samples=samples))
        meant |= {(name, frozenset(s.labels.items())): s.value for s in samples if math.isfinite(s.value)}
    read = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(render(families))
        for sample in family.samples
    }
    assert read == meant


@pytest.mark.parametrize("name", ["", "a b", "a{", "1a", 'a"', "a\n"])
def test_a_name_that_cannot_be_one_is_refused(name):
    for labels, metric in (({}, name), ({name: "x"}, "a")):
        with pytest.raises(ValueError, match="cannot be the name"):
            render([Family(name=metric, help="", kind="gauge", samples=(Sample(1.0, labels),))])


def test_the_same_series_twice_is_refused():
    one = Family(name="a", help="", kind="gauge", samples=(Sample(1.0, {}), Sample(2.0, {})))
    with pytest.raises(ValueError, match="twice"):
        render([one])
