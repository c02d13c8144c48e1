"""Everything that can go wrong, as one tree, and the exit code of each family.

    KobeError                 1  a fault in kobe or in what it was given
    |-- UsageError            2  the command's words are off
    |-- ConfigError           3  a setting is missing, unknown or out of bounds
    |-- DataError             4  bars or other inputs are missing, stale or malformed
    |   |-- MissingDataError
    |   |-- StaleDataError
    |   `-- SchemaError
    |-- ModelError            4  no usable model, or one that does not fit this runtime
    |-- ExternalError         5  a provider, broker or database did not answer
    |-- RefusedError          6  a gate, breaker or the kill switch says no to a whole command
    `-- IntegrityError        8  records are damaged: everything stops

A refusal of one order is not an error but a `Verdict`. Exit code 7 (partial) and 0 are outcomes of reports.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller; the one table of exit codes."""

    OK = 0
    FAULT = 1
    USAGE = 2
    CONFIG = 3
    DATA = 4
    EXTERNAL = 5
    REFUSED = 6
    PARTIAL = 7
    INTEGRITY = 8
    INTERRUPTED = 130
    TERMINATED = 143


EXIT_MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done, or nothing to do (a market holiday is 0 with a message)",
    ExitCode.FAULT: "a fault in kobe; run again with --debug for the traceback",
    ExitCode.USAGE: "the command's words are off",
    ExitCode.CONFIG: "a setting is missing, unknown or out of bounds",
    ExitCode.DATA: "data or a model is missing, stale or malformed",
    ExitCode.EXTERNAL: "a provider, broker or database is out of reach",
    ExitCode.REFUSED: "refused by a gate, a breaker or the kill switch",
    ExitCode.PARTIAL: "done in part; the report says what is missing",
    ExitCode.INTEGRITY: "records are damaged; nothing more is done until they are repaired",
    ExitCode.INTERRUPTED: "interrupted from the keyboard (SIGINT)",
    ExitCode.TERMINATED: "asked to stop (SIGTERM)",
}


class KobeError(Exception):
    """A fault that names what was wrong, what was seen, what was expected and the command to run next."""

    exit_code: ExitCode = ExitCode.FAULT

    def __init__(
        self, what: str, *, seen: object = None, expected: object = None, next_command: str | None = None
    ) -> None:
        self.what = what
        self.seen = seen
        self.expected = expected
        self.next_command = next_command
        super().__init__(self.message)

    @property
    def code(self) -> str:
        """Stable name of the fault for programs, such as `missing_data`."""
        name = type(self).__name__.removesuffix("Error")
        return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))

    @property
    def message(self) -> str:
        """One line a person can act on."""
        parts = [self.what]
        if self.seen is not None:
            parts.append(f"seen: {self.seen}")
        if self.expected is not None:
            parts.append(f"expected: {self.expected}")
        if self.next_command is not None:
            parts.append(f"next: {self.next_command}")
        return "; ".join(parts)


class UsageError(KobeError):
    """The command's words are off."""

    exit_code = ExitCode.USAGE


class ConfigError(KobeError):
    """A setting is missing, unknown or out of bounds."""

    exit_code = ExitCode.CONFIG


class DataError(KobeError):
    """Bars or other inputs cannot be used."""

    exit_code = ExitCode.DATA


class MissingDataError(DataError):
    """What was asked for is not in the store."""


class StaleDataError(DataError):
    """The newest bar is older than the session that was asked for."""


class SchemaError(DataError):
    """A file does not hold the columns or types it must hold."""


class ModelError(KobeError):
    """No usable model, or one that does not fit this runtime."""

    exit_code = ExitCode.DATA


class ExternalError(KobeError):
    """Something outside the process did not answer; `retryable` says whether asking again is safe."""

    exit_code = ExitCode.EXTERNAL

    def __init__(
        self,
        what: str,
        *,
        seen: object = None,
        expected: object = None,
        next_command: str | None = None,
        retryable: bool = False,
    ) -> None:
        self.retryable = retryable
        super().__init__(what, seen=seen, expected=expected, next_command=next_command)


class RefusedError(KobeError):
    """A whole command is refused by the kill switch, a breaker or the mode."""

    exit_code = ExitCode.REFUSED


class IntegrityError(KobeError):
    """Records are damaged; nothing may be decided on top of them."""

    exit_code = ExitCode.INTEGRITY
