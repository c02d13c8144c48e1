"""`kobe init`: make a home from a few answers. Nothing that is there is overwritten, and repeating it is harmless."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kobe.app import init_answers, notify, status, wiring
from kobe.app.context import Paths
from kobe.app.doctor.finding import Repair
from kobe.app.init_answers import FILES, Answers
from kobe.app.secret_names import BROKER_KEY, BROKER_SECRET, SECRETS, told
from kobe.app.settings import Settings
from kobe.core.errors import ConfigError, ExitCode
from kobe.infra import durable
from kobe.infra.clock import SystemClock
from kobe.reports.document import Document, Section, Table

SETTINGS, EXAMPLE, SECRET_FILE, PAGE = "config/kobe.toml", ".env.example", ".env", "STATUS.md"
NEW, SAME, KEPT, REPLACED = "made", "already there", "differs: left as it is", "replaced; a copy of the old one is kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class InitRequest:
    """A home and the answers.

    Attributes:
        home: the folder; made when missing.
        given: answers by the names of the questions; what is missing is taken from the home or the defaults.
        env: also make an empty `.env` that only its owner may read.
        force: replace files that differ, and keep a copy of each.
        dry_run: only say what would be done.
    """

    home: Path
    given: Answers
    env: bool = False
    force: bool = False
    dry_run: bool = False


def present(home: Path) -> Answers:
    """Return the answers a home amounts to now: what a person is offered, and what silence means."""
    file = home / SETTINGS
    try:
        settings = init_answers.read_file(file) if os.path.lexists(file) else Settings()
    except ConfigError:
        settings = Settings()
    answers = init_answers.defaults(settings)
    link = Paths(home).state / "backups"
    return {**answers, "backups": str(link.readlink())} if link.is_symlink() else answers


def run_init(request: InitRequest) -> Document:
    """Make the home.

    Raises:
        UsageError: an answer cannot be used.
        ConfigError: something is in the way; nothing was changed.
        ExternalError: the disk is full.
    """
    home = request.home
    answers = {**present(home), **request.given}
    init_answers.check(answers)
    text = init_answers.settings_text(answers)
    _refuse_obstacles(home, answers)
    steps, notes = _steps(request, answers, text)
    if not request.dry_run:
        for step in steps:
            try:
                step.act()
            except OSError as error:
                raise durable.fault(error, home) from error
    return _document(request, answers, steps, notes)


@dataclass(frozen=True, slots=True)
class Note:
    """A file that was there already, and how it differs."""

    name: str
    outcome: str
    lines: tuple[str, ...] = ()


def _steps(request: InitRequest, answers: Answers, text: str) -> tuple[list[Repair], list[Note]]:
    """Return what is to be done, in an order that may be cut anywhere, and what is there already."""
    home, paths = request.home, Paths(request.home)
    open_to_all = (home, home / "config", paths.bars, paths.reports)
    steps = [Repair(f"make {f}", partial(durable.make_folder, f)) for f in open_to_all if not f.is_dir()]
    if not paths.state.is_dir():
        steps.append(Repair(f"make {paths.state} (700)", partial(_make_private, paths.state)))
    notes = []
    for name, content in ((SETTINGS, text), (EXAMPLE, example())):
        file = home / name
        if not os.path.lexists(file):
            steps.append(Repair(f"write {file}", partial(durable.write_whole, file, content.encode())))
            continue
        lines = _differs(file, name, answers, content)
        if not lines:
            notes.append(Note(name, SAME))
        elif not request.force:
            notes.append(Note(name, KEPT, lines))
        else:
            notes.append(Note(name, REPLACED, lines))
            steps.append(Repair(f"keep a copy of {file} and replace it", partial(_replace, file, content.encode())))
    env, page = home / SECRET_FILE, home / PAGE
    if os.path.lexists(env):
        notes.append(Note(SECRET_FILE, SAME))
    elif request.env:
        steps.append(Repair(f"write {env} (600)", partial(_write_private, env, example().encode())))
    steps += _backups(paths, answers)
    if not os.path.lexists(page) and _can_be_read(home / SETTINGS):
        steps.append(Repair(f"write {page}", partial(_first_page, home)))
    return steps, notes


def _differs(file: Path, name: str, answers: Answers, content: str) -> tuple[str, ...]:
    """Return how a file that is there differs from what would be written, without values that nobody asked about."""
    if name != SETTINGS:
        try:
            is_equal = file.read_bytes() == content.encode()
        except OSError as error:
            return (f"it cannot be read: {error.strerror}",)
        return () if is_equal else ("it is another text",)
    try:
        there = init_answers.read_file(file)
    except ConfigError as error:
        return (error.what + (f": {error.seen}" if error.seen else ""),)
    lines = [f"{key} is {now}, not {wanted}" for key, now, wanted in init_answers.differences(there, answers)]
    extra = init_answers.extra_keys(file.read_text(encoding="utf-8")) if lines else []
    return (*lines, *(f"{key} is set there too, and would go back to its default" for key in extra))


def _can_be_read(file: Path) -> bool:
    """Say whether the settings that will be in force can be used; those still to be written can."""
    try:
        return not os.path.lexists(file) or bool(init_answers.read_file(file))
    except ConfigError:
        return False


def _refuse_obstacles(home: Path, answers: Answers) -> None:
    """See before anything is done that no folder stands where a file belongs, nor a file where a folder does.

    Raises:
        ConfigError: it is so.
    """
    paths = Paths(home)
    for file in (home / SETTINGS, home / EXAMPLE):
        if file.is_dir():
            raise ConfigError("a folder stands where a file belongs", seen=file, next_command=f"move {file} away")
    for folder in (home, home / "config", home / "data", paths.bars, paths.state, paths.reports):
        if os.path.lexists(folder) and not folder.is_dir():
            raise ConfigError("a file stands where a folder belongs", seen=folder, next_command=f"move {folder} away")
    wanted, there = answers["backups"], paths.state / "backups"
    if not wanted:
        return
    target = Path(wanted).expanduser().absolute()
    if target.is_relative_to(paths.state):
        raise ConfigError("backups inside the state would be lost with it", seen=target, expected="another folder")
    if os.path.lexists(target) and not target.is_dir():
        raise ConfigError("the folder of the backups is none", seen=target)
    is_other = there.is_symlink() and there.readlink() != target
    if is_other or (there.is_dir() and not there.is_symlink() and any(there.iterdir())):
        raise ConfigError("this home keeps its backups elsewhere already", seen=there,
                          next_command=f"move them to {target} and {there} away, then kobe init again")  # fmt: skip


def _backups(paths: Paths, answers: Answers) -> list[Repair]:
    """Lead state/backups to another folder: every command that makes or reads one then finds it there."""
    link = paths.state / "backups"
    if not answers["backups"] or link.is_symlink():
        return []
    target = Path(answers["backups"]).expanduser().absolute()

    def lead() -> None:
        if not target.is_dir():
            _make_private(target)
        if link.is_dir():
            link.rmdir()  # it is empty: that was seen before
        link.symlink_to(target, target_is_directory=True)
        durable.sync_folder(link.parent)

    return [Repair(f"lead {link} to {target}", lead)]


def example() -> str:
    """Return `.env.example`: every secret's name, none with a value."""
    head = (
        "# Secrets of this home. Copy this file to .env, readable by you alone (chmod 600); fill in what you use.\n"
        "# The environment is stronger than .env. No secret belongs into config/kobe.toml.\n"
    )
    blocks = []
    for secret in SECRETS:
        also = f" (also taken: {', '.join(secret.aliases)})" if secret.aliases else ""
        blocks.append(f"\n# {secret.purpose}{also}\n{secret.name}=\n")
    return head + "".join(blocks)


@contextmanager
def _private() -> Iterator[None]:
    """Let what is made inside be its owner's alone, from its first instant on."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _make_private(folder: Path) -> None:
    with _private():
        durable.make_folder(folder)


def _write_private(file: Path, content: bytes) -> None:
    with _private():
        durable.write_whole(file, content)


def _replace(file: Path, content: bytes) -> None:
    """Keep a copy first, whole; a kill in between leaves both."""
    stamp = f"{SystemClock().now():%Y%m%dT%H%M%SZ}"
    copy = file.with_name(f"{file.name}.before-{stamp}")
    number = 1
    while os.path.lexists(copy):
        number += 1
        copy = file.with_name(f"{file.name}.before-{stamp}-{number}")
    _write_private(copy, file.read_bytes())
    durable.write_whole(file, content)


def _first_page(home: Path) -> None:
    ctx = wiring.build(home)
    status.run_status(ctx)


def _document(request: InitRequest, answers: Answers, steps: list[Repair], notes: list[Note]) -> Document:
    word = "would be" if request.dry_run else "was"
    outcome = "would be done" if request.dry_run else "done"
    rows = [*((step.what, outcome) for step in steps), *((note.name, note.outcome) for note in notes)]
    kept = [note for note in notes if note.outcome == KEPT]
    following = next_steps(request.home, answers)
    things = "1 thing" if len(steps) == 1 else f"{len(steps)} things"
    done = f"{things} {outcome}" if steps else "Nothing to do"
    caps = f"at most {answers['order_max_usd']} $ an order and {answers['day_max_usd']} $ a day"
    source = "your files" if answers["data"] == FILES else answers["data"]
    summary = [f"{done}." if kept else f"{done}: {answers['mode']}, bars from {source}, {caps}."]
    if kept:
        summary.append(f"{', '.join(n.name for n in kept)} {word} left as it is; --force replaces it and keeps a copy.")
    summary += [f"Next: {following[0][0]}"]
    differing = [(note.name, line) for note in notes for line in note.lines]
    return Document(
        schema="kobe.init/1",
        title=f"Home {request.home}" + (" (dry run)" if request.dry_run else ""),
        summary=tuple(summary),
        banners=("LIVE: orders of this home cost real money. kobe run also needs --live.",)
        if answers["mode"] == "live" else (),
        sections=(
            Section(title="", table=Table(columns=("what", "outcome"), rows=tuple(rows))),
            *((Section(title="Differences", table=Table(columns=("file", "how"), rows=tuple(differing))),)
              if differing else ()),
            Section(title="Next", table=Table(columns=("command", "why"), rows=tuple(following))),
        ),
        data={
            "home": str(request.home), "answers": answers, "dry_run": request.dry_run,
            "done": [step.what for step in steps],
            "files": [{"name": n.name, "outcome": n.outcome, "differences": list(n.lines)} for n in notes],
            "next": [command for command, _ in following],
        },
        exit_code=ExitCode.PARTIAL if kept else ExitCode.OK,
    )  # fmt: skip


def next_steps(home: Path, answers: Answers) -> list[tuple[str, str]]:
    """Return the commands to run next, each with its reason."""
    kobe = "kobe" if home == wiring.default_home() else f"kobe --home {home}"
    given = notify.variables(Paths(home))
    wanted = [name for name in _secrets_of(answers) if not told(name, given)]
    steps = [(f"put {', '.join(wanted)} into {home / SECRET_FILE}", "this choice needs them")] if wanted else []
    if answers["mode"] == "sim" and answers["data"] == FILES:
        steps += [(f"{kobe} demo", "a whole day on a made-up market, without a network"),
                  (f"{kobe} data import FILE", "your own bars, CSV or Parquet")]  # fmt: skip
    elif answers["data"] == FILES:
        steps += [(f"{kobe} doctor", "keys, broker and clock"), (f"{kobe} data import FILE", "your bars")]
    else:
        steps += [(f"{kobe} demo", "a whole day on a made-up market, without a network"),
                  (f"{kobe} data fetch", f"bars from {answers['data']}")]  # fmt: skip
        steps += [(f"{kobe} doctor", "keys, broker and clock")] if answers["mode"] != "sim" else []
    if answers["runner"] == "runner":
        return [*steps, (f"{kobe} run" + (" --live" if answers["mode"] == "live" else ""), "the New York day")]
    return [*steps, (f"{kobe} schedule export {answers['runner']}", "entries that wake kobe")]


def _secrets_of(answers: Answers) -> list[str]:
    names = [BROKER_KEY, BROKER_SECRET] if answers["mode"] != "sim" or answers["data"] == "alpaca" else []
    names += ["POLYGON_API_KEY"] if answers["data"] == "polygon" else []
    channel = notify.SECRETS.get(answers["notify"], "")
    return names + ([channel] if channel else [])
