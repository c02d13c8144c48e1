"""`kobe leakcheck`: the probes over the store's bars or a made-up market, the mutants, and the need for history."""

from dataclasses import asdict, dataclass
from typing import Any

from kobe.app.context import Context
from kobe.app.leakcheck import cuts, warm_up
from kobe.app.leakcheck import world as worlds
from kobe.app.leakcheck.cells import Alarm
from kobe.app.leakcheck.check import Catch, Finding, laboratory, run_mutants, run_probes
from kobe.app.leakcheck.cuts import Cut
from kobe.app.leakcheck.lab import Lab
from kobe.app.leakcheck.mutants import MUTANTS
from kobe.app.leakcheck.probes import PROBES
from kobe.app.leakcheck.stages import Pipeline, Terms
from kobe.app.leakcheck.warm_up import Need
from kobe.app.leakcheck.world import World
from kobe.core.calendar import Calendar
from kobe.core.errors import ExitCode, UsageError
from kobe.reports.document import Document, Section, Table, jsonable

MUTANT_SYMBOLS, MUTANT_SEED, MUTANT_CUTS = 60, 81, 7
ALARMS_SHOWN, ALARMS_KEPT = 20, 500


@dataclass(frozen=True, kw_only=True)
class LeakcheckRequest:
    """What to check.

    Attributes:
        mutants: also plant every leak, on a made-up market that holds every kind of event.
        plant: check a pipeline with this one leak in it, to see what an alarm looks like.
        synthetic: check a made-up market and not the store.
        cuts: sessions at which the future is cut off.
        seed: of sample, cuts and other futures; None: the setting.
        symbols: how many of the store's, or how many are made up.
    """

    mutants: bool = False
    plant: str | None = None
    synthetic: bool = False
    cuts: int = 8
    seed: int | None = None
    symbols: int = 60


def run_leakcheck(ctx: Context, request: LeakcheckRequest) -> Document:
    """Compare the pipeline on all of history with the pipeline on what was known, and say where they differ.

    Raises:
        UsageError: there is no leak of that name.
        MissingDataError: the store holds no bars, or too few sessions.
    """
    pipeline = _pipeline(request.plant)
    seed = ctx.settings.run.seed if request.seed is None else request.seed
    terms = Terms.of(ctx)
    if request.synthetic:
        world = worlds.synthetic(ctx.calendar, request.symbols, seed)
    else:
        world = worlds.from_store(ctx, request.symbols, seed)
    places = cuts.chosen(world, terms, request.cuts, seed)
    lab = laboratory(world, terms, places, seed, pipeline)
    findings = run_probes(lab, PROBES, places, ctx.progress)
    needs = warm_up.measure(lab.whole.whole_panel, seed)
    catches = planted(ctx, terms) if request.mutants else []
    return _document(lab, places, findings, catches, needs)


def _pipeline(plant: str | None) -> Pipeline:
    if plant is None:
        return Pipeline()
    if plant not in MUTANTS:
        raise UsageError(
            "no such planted leak", seen=plant, expected=", ".join(MUTANTS), next_command="kobe leakcheck --mutants"
        )
    return MUTANTS[plant].plant(Pipeline())


def planted(ctx: Context, terms: Terms) -> list[Catch]:
    """Plant every mutant on the one made-up market kept for it, and say what caught it."""
    world = worlds.synthetic(ctx.calendar, MUTANT_SYMBOLS, MUTANT_SEED)
    places = cuts.chosen(world, terms, MUTANT_CUTS, MUTANT_SEED)
    lab = laboratory(world, terms, places, MUTANT_SEED)
    return run_mutants(lab, MUTANTS, PROBES, places, ctx.progress)


def _document(
    lab: Lab, places: list[Cut], findings: list[Finding], catches: list[Catch], needs: list[Need]
) -> Document:
    world = lab.whole.world
    leaks = [f.probe for f in findings if f.differing]
    missed = [c.mutant for c in catches if c.alarm is None]
    sections = [_probe_section(findings), _cut_section(world, places)]
    sections += [_alarm_section(world.calendar, findings)] if leaks else []
    sections += [_mutant_section(world.calendar, catches)] if catches else []
    return Document(
        schema="kobe.leakcheck/1",
        title="Does anything see the future?",
        summary=_summary(findings, leaks, catches, missed),
        banners=lab.whole.whole_panel.banners,
        sections=(*sections, _warm_up_section(needs)),
        data=_data(lab, places, findings, catches, needs),
        exit_code=ExitCode.INTEGRITY if leaks or missed else ExitCode.OK,
    )


def _summary(findings: list[Finding], leaks: list[str], catches: list[Catch], missed: list[str]) -> tuple[str, ...]:
    cells, asked = sum(f.cells for f in findings), sum(f.cells > 0 for f in findings)
    lines = [f"{cells:,} figures compared by {asked} of {len(findings)} probes, to the bit"]
    lines.append(f"LEAK in {', '.join(leaks)}" if leaks else "no stage sees the future")
    if catches:
        lines.append(f"{len(catches) - len(missed)} of {len(catches)} planted leaks caught")
    if missed:
        lines.append(f"MISSED: {', '.join(missed)}; the check cannot see leaks of this kind")
    return tuple(lines)


def _probe_section(findings: list[Finding]) -> Section:
    rows = tuple((f.probe, f.cells, f.rounded, f.cuts, f.differing, f.verdict, f.meaning) for f in findings)
    columns = ("probe", "figures", "rounded", "cuts", "differ", "verdict", "what must not change")
    note = "Rounded: a later split by three or seven is no exact division; such figures agree to 1e-9."
    return Section(title="Probes", lines=(note,), table=Table(columns=columns, rows=rows))


def _cut_section(world: World, places: list[Cut]) -> Section:
    rows = tuple((world.day(c.session).isoformat(), c.why) for c in places)
    return Section(title="Where the future was cut off", table=Table(columns=("session", "why there"), rows=rows))


def _alarm_section(calendar: Calendar, findings: list[Finding]) -> Section:
    alarms = [a for f in findings for a in f.alarms[:ALARMS_SHOWN]][:ALARMS_SHOWN]
    columns = ("probe", "test", "cut", "symbol", "session", "column", "all of history", "known then")
    rows = tuple(tuple(_alarm(calendar, a).values()) for a in alarms)
    return Section(title="Alarms", table=Table(columns=columns, rows=rows))


def _alarm(calendar: Calendar, alarm: Alarm) -> dict[str, Any]:
    days = {name: calendar.sessions[getattr(alarm, name)].isoformat() for name in ("cut", "session")}
    return {**asdict(alarm), **days}


def _mutant_section(calendar: Calendar, catches: list[Catch]) -> Section:
    rows = []
    for c in catches:
        a = c.alarm
        where = "" if a is None else f"{a.symbol} {calendar.sessions[a.session]} {a.column}"
        rows.append((c.mutant, c.stage, "MISSED" if a is None else "caught", "" if a is None else a.probe, where))
    columns = ("planted leak", "part", "verdict", "by probe", "first seen at")
    return Section(
        title="Mutants", lines=("Planted in a made-up market that holds every kind of event.",),
        table=Table(columns=columns, rows=tuple(rows)),
    )  # fmt: skip


def _warm_up_section(needs: list[Need]) -> Section:
    rows = tuple((n.indicator, n.period, *n.worst, "more" if n.bars is None else n.bars) for n in needs)
    columns = ("indicator", "n", *(f"{m} n" for m in warm_up.MULTIPLES), "bars needed")
    note = (
        "Largest relative difference from the full-history value when history starts so many periods before the bar; "
        f"needed: the difference stays below {warm_up.TOLERANCE:g}."
    )
    return Section(title="History an indicator needs", lines=(note,), table=Table(columns=columns, rows=rows))


def _data(
    lab: Lab, places: list[Cut], findings: list[Finding], catches: list[Catch], needs: list[Need]
) -> dict[str, Any]:
    world = lab.whole.world
    calendar = world.calendar
    alarms = [a for f in findings for a in f.alarms][:ALARMS_KEPT]
    data = {
        "source": world.provenance.source, "bars": len(world.bars), "data_digest": lab.whole.whole_panel.digest,
        "symbols": len(lab.whole.whole_panel.symbols), "seed": lab.seed,
        "cuts": [{"session": world.day(c.session).isoformat(), "why": c.why} for c in places],
        "probes": [
            {**{k: v for k, v in asdict(f).items() if k != "alarms"}, "verdict": f.verdict} for f in findings
        ],
        "alarms": [_alarm(calendar, a) for a in alarms],
        "mutants": [
            {"mutant": c.mutant, "meaning": c.meaning, "part": c.stage, "caught": c.alarm is not None,
             "differing": c.differing, "alarm": None if c.alarm is None else _alarm(calendar, c.alarm)}
            for c in catches
        ],
        "warm_up": {
            "multiples": list(warm_up.MULTIPLES), "tolerance": warm_up.TOLERANCE, "needs": [asdict(n) for n in needs],
        },
    }  # fmt: skip
    plain: dict[str, Any] = jsonable(data)
    return plain
