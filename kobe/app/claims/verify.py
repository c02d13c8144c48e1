"""`kobe verify-claims`: derive every figure of the documents again and say which still hold."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kobe.app.claims.book import (
    BOOK,
    NOT_A_CLAIM,
    Book,
    Claim,
    Told,
    figures_in,
    plain,
    read_book,
    rounds_to,
    uncovered,
    value_at,
)
from kobe.app.claims.sources import SOURCES, Bench, Source
from kobe.core.errors import ExitCode, KobeError, SchemaError, UsageError
from kobe.core.ports import Progress
from kobe.reports.document import Document, Section, Table, jsonable

SWEPT = ("docs/evidence.md", "docs/data.md")
HOLDS, DIFFERS, CANNOT_RUN, MEASURED = "holds", "differs", "cannot run", "measured"


@dataclass(frozen=True, kw_only=True)
class ClaimsRequest:
    """What to verify.

    Attributes:
        documents: folder of the checkout whose documents are read; None: the one this code stands in.
        data: folder of the test data; None: sources that need it cannot run.
        only: name of a claim, its topic (what stands before the dot), or a source; None: everything.
    """

    documents: Path | None = None
    data: Path | None = None
    only: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one claim; `detail` says what differs or why it could not be derived."""

    claim: Claim
    status: str
    detail: str


def run_verify_claims(
    request: ClaimsRequest, *, sources: Mapping[str, Source] = SOURCES, progress: Progress | None = None
) -> Document:
    """Verify the claims of `docs/claims.toml`; exit code 8 when one differs, 7 when one cannot be derived.

    Args:
        request: what to verify.
        sources: how values are derived.
        progress: called after each source.

    Raises:
        MissingDataError: there are no claims.
        SchemaError: the file of claims cannot be read, or names a source we do not have.
        UsageError: `only` fits no claim.
    """
    folder = request.documents or Path(__file__).resolve().parents[3]
    book = read_book(folder)
    claims = _chosen(book, request.only)
    unknown = next((c for c in claims if c.source not in sources), None)
    if unknown is not None:
        raise SchemaError(
            f"claim {unknown.name} names no source", seen=unknown.source, expected=", ".join(sources)
        )  # fmt: skip
    entries: list[Claim | Told] = [*book.claims, *book.measured, *book.stated]
    texts = {name: _text(folder / name) for name in dict.fromkeys(e.document for e in entries)}
    with tempfile.TemporaryDirectory() as work:
        values = _derive(claims, texts, sources, Bench(data=request.data, work=Path(work)), progress)
    answers = [_answer(c, texts[c.document], values) for c in claims]
    if request.only is not None:
        return _document(answers, [], [], [], sources)
    lost = [told for told in (*book.measured, *book.stated) if plain(told.says) not in texts[told.document]]
    swept = [(name, row) for name in SWEPT for row in uncovered(name, _raw(folder / name), book)]
    return _document(answers, list(book.measured), lost, swept, sources)


def lost_words(folder: Path) -> list[str]:
    """Return what the book says stands in a document and does not; nothing is derived.

    Raises:
        MissingDataError: there are no claims.
        SchemaError: the file of claims cannot be read.
    """
    book = read_book(folder)
    entries: list[Claim | Told] = [*book.claims, *book.measured, *book.stated]
    return [f"{e.document}: {e.says}" for e in entries if plain(e.says) not in _text(folder / e.document)]


def _chosen(book: Book, only: str | None) -> list[Claim]:
    claims = [c for c in book.claims if only in (None, c.name, c.name.partition(".")[0], c.source)]
    if not claims:
        topics = dict.fromkeys(c.name.partition(".")[0] for c in book.claims)
        raise UsageError("no such claim", seen=only, expected=", ".join(topics) or f"claims in {BOOK}")
    return claims


def _raw(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _text(path: Path) -> str:
    return plain(_raw(path))


def _derive(
    claims: list[Claim], texts: Mapping[str, str], sources: Mapping[str, Source], bench: Bench,
    progress: Progress | None,
) -> dict[str, Any]:  # fmt: skip
    """Run every source that a claim still standing in its document asks for, each once."""
    wanted = list(dict.fromkeys(c.source for c in claims if plain(c.says) in texts[c.document]))
    values: dict[str, Any] = {}
    for k, name in enumerate(wanted):
        try:
            values[name] = sources[name].values(bench)
        except KobeError as error:  # a missing file stops one source, not the others
            values[name] = error
        if progress:
            progress(k + 1, len(wanted), "claims")
    return values


def _answer(claim: Claim, text: str, values: Mapping[str, Any]) -> Answer:
    if plain(claim.says) not in text:
        return Answer(claim=claim, status=DIFFERS, detail=f"{claim.document} does not say it")
    derived = values[claim.source]
    if isinstance(derived, KobeError):
        return Answer(claim=claim, status=CANNOT_RUN, detail=derived.message)
    wrong = []
    for figure, path in zip(figures_in(claim.says), claim.at, strict=True):
        if path == NOT_A_CLAIM:
            continue
        try:
            value = value_at(derived, path)
        except SchemaError as error:
            wrong.append(error.message)
            continue
        if not rounds_to(value, figure, claim.tolerance):
            scaled = value * 100.0 if figure.percent and isinstance(value, int | float) else value
            wrong.append(f"{figure.text} is now {scaled:.6g}" if isinstance(scaled, int | float) else
                         f"{figure.text} is now {scaled}")  # fmt: skip
    return Answer(claim=claim, status=DIFFERS if wrong else HOLDS, detail="; ".join(wrong))


def _document(
    answers: list[Answer], measured: list[Told], lost: list[Told], swept: list[tuple[str, str]],
    sources: Mapping[str, Source],
) -> Document:  # fmt: skip
    tally = {status: sum(a.status == status for a in answers) for status in (HOLDS, DIFFERS, CANNOT_RUN)}
    figures = sum(sum(path != NOT_A_CLAIM for path in a.claim.at) for a in answers if a.status == HOLDS)
    bad = tally[DIFFERS] or lost
    code = ExitCode.INTEGRITY if bad else ExitCode.PARTIAL if tally[CANNOT_RUN] else ExitCode.OK
    rows = tuple((a.claim.name, a.status, a.claim.document, a.detail or plain(a.claim.says), sources[a.claim.source]
                  .command) for a in sorted(answers, key=lambda a: a.status == HOLDS))  # fmt: skip
    sections = [
        Section(title="Claims", table=Table(columns=("claim", "status", "document", "what", "derived by"), rows=rows))
    ]
    if lost:
        sections.append(Section(title="Words that no document says any more", lines=tuple(t.says for t in lost)))
    if measured:
        table = Table(columns=("document", "figures", "measure again with"),
                      rows=tuple((m.document, plain(m.says), m.by) for m in measured))  # fmt: skip
        said = "Times and memory belong to a machine: they are not compared."
        sections.append(Section(title="Measured", lines=(said,), table=table))
    if swept:
        lines = tuple(f"{name}: {row}" for name, row in swept)
        sections.append(Section(title="Table lines with figures that no claim covers", lines=lines))
    return Document(
        schema="kobe.verify_claims/1",
        title="What the documents claim, derived anew",
        summary=(
            f"{tally[HOLDS]} claims hold ({figures} figures), {tally[DIFFERS]} differ, {tally[CANNOT_RUN]} cannot run.",
            *([f"{len(lost)} measured or stated sentences are gone from their document."] if lost else []),
            *([f"{len(swept)} table lines have figures no claim covers."] if swept else []),
        ),
        sections=tuple(sections),
        data=_data(answers, measured, lost, swept),
        exit_code=code,
    )


def _data(
    answers: list[Answer], measured: list[Told], lost: list[Told], swept: list[tuple[str, str]]
) -> dict[str, Any]:  # fmt: skip
    return {
        "claims": [
            {"name": a.claim.name, "status": a.status, "document": a.claim.document, "says": a.claim.says,
             "source": a.claim.source, "detail": a.detail}
            for a in answers
        ],
        "measured": [{"document": m.document, "says": m.says, "by": m.by, "status": MEASURED} for m in measured],
        "lost": [{"document": t.document, "says": t.says} for t in lost],
        "uncovered": jsonable([{"document": name, "line": row} for name, row in swept]),
    }  # fmt: skip
