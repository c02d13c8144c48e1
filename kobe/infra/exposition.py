"""Numbers in the text format that Prometheus reads (version 0.0.4): families with help, type and labelled samples."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_EXACT = 2.0**53


@dataclass(frozen=True, slots=True)
class Sample:
    """One number and its labels; NaN is "there is none"."""

    value: float
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Samples that share a name, a help text and a type."""

    name: str
    help: str
    kind: Literal["gauge", "counter"]
    samples: tuple[Sample, ...]


def render(families: Iterable[Family]) -> str:
    """Write families; one without a finite sample is left out, and so is a sample that is not finite.

    Raises:
        ValueError: a name cannot be one, or the same name and labels come twice.
    """
    lines = list[str]()
    seen = set[str]()
    for family in families:
        _check(family.name)
        told = [(_labels(s.labels), s.value) for s in family.samples if math.isfinite(s.value)]
        if not told:
            continue
        lines += [f"# HELP {family.name} {_help(family.help)}", f"# TYPE {family.name} {family.kind}"]
        for labels, value in told:
            series = family.name + labels
            if series in seen:
                msg = f"{series} comes twice"
                raise ValueError(msg)
            seen.add(series)
            lines.append(f"{series} {_number(value)}")
    return "".join(f"{line}\n" for line in lines)


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        msg = f"{name!r} cannot be the name of a metric or label"
        raise ValueError(msg)


def _labels(labels: Mapping[str, str]) -> str:
    for name in labels:
        _check(name)
    inside = ",".join(f'{name}="{_value(text)}"' for name, text in sorted(labels.items()))
    return f"{{{inside}}}" if inside else ""


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _value(text: str) -> str:
    return _help(text).replace('"', r"\"")


def _number(value: float) -> str:
    """Whole numbers without a point, as long as a float holds them exactly."""
    return str(int(value)) if value == int(value) and abs(value) < _EXACT else repr(float(value))
