"""What a feed must know after a crash: where each symbol stands and which bars were on their way to the sink.

The file is written whole and durably before a batch of bars is handed over, and says both: `marks` already counts
the batch as delivered, `in_flight` holds its bars. After a crash the sink is asked about those bars alone.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kobe.core.errors import ConfigError, IntegrityError
from kobe.core.ids import canonical_json
from kobe.data.feeds.port import MinuteBar, fingerprint
from kobe.data.feeds.sequence import Mark
from kobe.infra import durable

_SCHEMA = 1


class Journal:
    """One small JSON file of one feed. One process at a time writes it; the feed's lease sees to that."""

    def __init__(self, path: Path, feed: str) -> None:
        """Only remember where it is.

        Args:
            path: the file; made with its folder at the first write.
            feed: the tape its bars come from; a journal of another tape is refused.
        """
        self.marks: dict[str, Mark] = {}
        """Where each symbol stands, once read."""
        self._path = path
        self._feed = feed

    def read(self) -> list[MinuteBar]:
        """Read the marks; return the bars that were on their way when the last process ended.

        Raises:
            IntegrityError: the file is not what was written.
            ConfigError: it belongs to another tape, or cannot be read.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise durable.fault(error, self._path) from error
        try:
            record = json.loads(content)
            body = record["body"]
            _check(record["digest"] == fingerprint(body) and body["schema"] == _SCHEMA)
            self.marks = {symbol: _mark(told) for symbol, told in body["marks"].items()}
            in_flight = [MinuteBar.from_record(told) for told in body["in_flight"]]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise IntegrityError(
                "the journal of a feed is damaged",
                seen=self._path,
                expected="what kobe wrote there; move the file away to begin at the present minute",
                next_command="kobe doctor",
            ) from error
        if body["feed"] != self._feed:
            raise ConfigError("this journal belongs to another tape", seen=body["feed"], expected=self._feed)
        return in_flight

    def write(self, marks: Mapping[str, Mark], in_flight: Sequence[MinuteBar]) -> None:
        """Write down where all symbols will stand once these bars are delivered.

        Raises:
            ConfigError: the folder cannot be written.
            ExternalError: the disk is full or did not answer.
        """
        self.marks.update(marks)
        body = {
            "schema": _SCHEMA,
            "feed": self._feed,
            "marks": {symbol: _told(mark) for symbol, mark in self.marks.items()},
            "in_flight": [bar.as_record() for bar in in_flight],
        }
        content = canonical_json({"body": body, "digest": fingerprint(body)})
        # Without waiting for the rename a power cut could bring the old file back after the sink took the bars.
        durable.write_whole(self._path, content.encode(), sync_name=True)


def _check(sound: bool) -> None:
    if not sound:
        raise ValueError("not what was written")


def _told(mark: Mark) -> dict[str, Any]:
    prints = {str(minute): list(prints) for minute, prints in mark.prints.items()}
    return {"position": mark.position, "base": mark.base, "delivered": f"{mark.delivered:x}", "prints": prints}


def _mark(told: Mapping[str, Any]) -> Mark:
    prints = {int(minute): tuple(prints) for minute, prints in told["prints"].items()}
    return Mark(
        position=int(told["position"]), base=int(told["base"]), delivered=int(told["delivered"], 16), prints=prints
    )
