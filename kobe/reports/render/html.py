"""A document as one self-contained HTML file: no network, readable on a phone, in light and in dark."""

from functools import cache
from typing import TYPE_CHECKING

from kobe.reports.document import Cell, Document, Table, shown

if TYPE_CHECKING:
    from jinja2 import Template

ANSWERS = ("yes", "no", "unknown")
MOST_LETTERS_OF_A_NUMBER = 11  # "0.02% of trades" is a number with its unit

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ doc.title }}</title>
<style>
:root { --ink:#1d2733; --paper:#fbfbf9; --line:#d9dcdf; --soft:#55606c; --a:#1f6feb; --b:#b3541e; --good:#1a7f37;
  --bad:#b3261e; --warn:#fff3cd; --box:#f1f3f5; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink:#e6e9ec; --paper:#14181d; --line:#333b44; --soft:#a3adb8;
  --a:#6ea8fe; --b:#f0a36b; --good:#5fd07f; --bad:#ff8a80; --warn:#4a3b00; --box:#1c2229; } }
* { box-sizing: border-box; }
body { margin:0 auto; padding:1.5rem 1rem 4rem; max-width:62rem; background:var(--paper); color:var(--ink);
  font:16px/1.5 system-ui, sans-serif; overflow-wrap:break-word; }
h1 { font-size:1.5rem; line-height:1.25; margin:.6rem 0; } h2 { font-size:1.1rem; margin:2.2rem 0 .5rem; }
h3 { font-size:1rem; margin:1rem 0 .2rem; } ul { margin:.2rem 0; padding-left:1.2rem; }
.banner { background:var(--warn); border-left:4px solid var(--b); padding:.5rem .8rem; margin:.3rem 0;
  font-weight:600; }
.summary p, .lines p { margin:.15rem 0; } .lines { margin-bottom:.5rem; } .lines p { color:var(--soft); }
.boxed { border:2px solid var(--soft); border-radius:8px; background:var(--box); padding:.2rem 1rem 1rem;
  margin:1.2rem 0; } .boxed h2 { margin-top:.8rem; } .boxed .lines p { color:var(--ink); }
.scroll { overflow-x:auto; margin-top:.5rem; } table { border-collapse:separate; border-spacing:0; width:100%;
  font-variant-numeric:tabular-nums; font-size:.86rem; }
th, td { padding:.3rem .6rem; border-bottom:1px solid var(--line); text-align:right; white-space:nowrap; }
td.words { white-space:normal; min-width:9rem; } th.words, td.words, .name { text-align:left; }
td.yes, td.no, td.unknown { font-weight:600; } td.yes { color:var(--good); } td.no { color:var(--bad); }
th { color:var(--soft); font-weight:600; } tbody th { color:var(--ink); }
th:first-child, td:first-child { text-align:left; }
.figures { display:grid; grid-template-columns:repeat(auto-fit, minmax(9.5rem, 1fr)); gap:.6rem; margin:1.2rem 0 0; }
.figures div { border:1px solid var(--line); border-radius:8px; background:var(--box); padding:.5rem .8rem .6rem; }
dt, dd.note { color:var(--soft); font-size:.82rem; } dd { margin:0; font-size:1.25rem; font-weight:600; line-height:1.3;
  font-variant-numeric:tabular-nums; overflow-wrap:anywhere; } dd.note { font-weight:400; line-height:1.4; }
summary { cursor:pointer; color:var(--soft); padding:.4rem 0; }
svg { width:100%; height:auto; display:block; margin:.4rem 0; } .narrow { display:none; }
svg text { fill:var(--soft); font:12px system-ui, sans-serif; font-variant-numeric:tabular-nums; }
svg text.n { fill:var(--ink); }
.grid { stroke:var(--line); } .zero { stroke:var(--soft); stroke-width:1.4; }
.s0 { stroke:var(--a); } .s1 { stroke:var(--b); } .s2 { stroke:var(--ink); } .ink { stroke:var(--ink); }
.f0 { fill:var(--a); opacity:.22; } .f1 { fill:var(--b); opacity:.22; } .f2 { fill:var(--soft); opacity:.15; }
.k0 { fill:var(--a); } .k1 { fill:var(--b); } .h0 { fill:var(--a); } .h1 { fill:var(--b); }
.h0.loss, .h1.loss { fill-opacity:.28; stroke-width:1.2; stroke-dasharray:3 2; }
.h0.loss { stroke:var(--a); } .h1.loss { stroke:var(--b); }
.disc { fill:var(--ink); } .ring { fill:var(--paper); stroke:var(--ink); stroke-width:1.4; }
footer { margin-top:3rem; color:var(--soft); font-size:.8rem; }
@media (max-width: 700px) { .wide { display:none; } .narrow { display:block; max-width:34rem; }
  body { padding:1rem .7rem 3rem; } th, td { padding:.3rem .45rem; } td.words { min-width:6rem; }
  table { font-size:.82rem; } .boxed { padding:.1rem .7rem .7rem; }
  tbody td:first-child, tbody th { position:sticky; left:0; background:var(--paper); }
  .boxed tbody td:first-child, .boxed tbody th { background:var(--box); }
  .figures { grid-template-columns:1fr 1fr; gap:.4rem; } dd { font-size:1.1rem; } }
</style>
</head>
<body>
<main>
{% for banner in doc.banners %}<div class="banner" role="note">{{ banner }}</div>{% endfor %}
<h1>{{ doc.title }}</h1>
<div class="summary">{% for line in doc.summary %}<p>{{ line }}</p>{% endfor %}</div>
{% if doc.figures %}<dl class="figures">
{% for f in doc.figures %}<div><dt>{{ f.label }}</dt><dd>{{ f.value }}</dd>
{% if f.note %}<dd class="note">{{ f.note }}</dd>{% endif %}</div>
{% endfor %}</dl>{% endif %}
{% for section in doc.sections %}<section{% if section.boxed %} class="boxed"{% endif %}>
{% if section.title %}<h2>{{ section.title }}</h2>{% endif %}
{% if section.lines %}<div class="lines">{% for line in section.lines %}<p>{{ line }}</p>{% endfor %}</div>{% endif %}
{% if section.picture %}{{ section.picture | safe }}{% endif %}
{% for heading, sentences in section.lists %}<h3>{{ heading }}</h3>
<ul>{% for sentence in sentences %}<li>{{ sentence }}</li>{% endfor %}</ul>{% endfor %}
{% if section.table and not (section.picture and section.in_place_of_picture) %}
{% if section.folded %}<details><summary>{{ section.folded }}</summary>{% endif %}
<div class="scroll" tabindex="0" role="region" aria-label="{{ section.title }}, table"><table>
{% set kinds = kinds_of(section.table) %}
<thead><tr>{% for c in section.table.columns %}
<th scope="col"{% if kinds[loop.index0] %} class="words"{% endif %}>{{ c }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in section.table.rows %}<tr>
{% for c in row %}{% set kind = c if c in answers else kinds[loop.index0] %}
{% if loop.first and section.table.words is not none %}
<th scope="row"{% if kind %} class="{{ kind }}"{% endif %}>
{{- shown(c) }}</th>{% else %}
<td{% if kind %} class="{{ kind }}"{% endif %}>
{{- shown(c) }}</td>{% endif %}{% endfor %}</tr>
{% endfor %}</tbody>
</table></div>
{% if section.folded %}</details>{% endif %}
{% endif %}
</section>{% endfor %}
</main>
<footer>Made by kobe from recorded data; schema {{ doc.schema }}.</footer>
</body>
</html>
"""


def render(document: Document) -> str:
    """Return the document as HTML; everything from outside is escaped, pictures are our own SVG."""
    return str(_template().render(doc=document, shown=shown, kinds_of=_kinds, answers=ANSWERS))


@cache
def _template() -> "Template":
    from jinja2 import Environment

    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE)


def _kinds(table: Table) -> tuple[str, ...]:
    """Return the columns' classes: sentences wrap and stand on the left; numbers and names stay on one line."""
    wordy = [any(_is_sentence(row[k]) for row in table.rows) for k in range(len(table.columns))]
    names = table.words or ()
    return tuple(
        "words" if w else "name" if c in names else "" for c, w in zip(table.columns, wordy, strict=True)
    )  # fmt: skip


def _is_sentence(cell: Cell) -> bool:
    return isinstance(cell, str) and cell.count(" ") > 1 and sum(c.isalpha() for c in cell) > MOST_LETTERS_OF_A_NUMBER
