"""A document as one self-contained HTML file: no network, readable on a phone, in light and in dark."""

from kobe.reports.document import Document, shown

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ doc.title }}</title>
<style>
:root { --ink:#1d2733; --paper:#fbfbf9; --line:#d9dcdf; --soft:#5b6773; --a:#1f6feb; --b:#b3541e; --bad:#b3261e;
  --warn:#fff3cd; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink:#e6e9ec; --paper:#14181d; --line:#333b44; --soft:#9aa5b1;
  --a:#6ea8fe; --b:#f0a36b; --bad:#ff8a80; --warn:#4a3b00; } }
* { box-sizing: border-box; }
body { margin:0 auto; padding:1.5rem 1rem 4rem; max-width:62rem; background:var(--paper); color:var(--ink);
  font:16px/1.5 system-ui, sans-serif; }
h1 { font-size:1.5rem; margin:.2rem 0 .6rem; } h2 { font-size:1.1rem; margin:2rem 0 .5rem; }
.banner { background:var(--warn); border-left:4px solid var(--b); padding:.5rem .8rem; margin:.3rem 0;
  font-weight:600; }
.summary p, .lines p { margin:.15rem 0; } .lines p { color:var(--soft); }
.scroll { overflow-x:auto; } table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums;
  font-size:.86rem; }
th, td { padding:.3rem .6rem; border-bottom:1px solid var(--line); text-align:right; white-space:nowrap; }
td.words { white-space:normal; text-align:left; min-width:16rem; }
th { color:var(--soft); font-weight:600; } th:first-child, td:first-child { text-align:left; }
svg { width:100%; height:auto; display:block; } svg text { fill:var(--soft); font:12px system-ui, sans-serif; }
.grid { stroke:var(--line); } .axis { stroke:var(--soft); } .s0 { stroke:var(--a); } .s1 { stroke:var(--b); }
.f0 { fill:var(--a); opacity:.22; } .f1 { fill:var(--b); opacity:.22; } .k0 { fill:var(--a); } .k1 { fill:var(--b); }
footer { margin-top:3rem; color:var(--soft); font-size:.8rem; }
</style>
</head>
<body>
{% for banner in doc.banners %}<div class="banner" role="note">{{ banner }}</div>{% endfor %}
<h1>{{ doc.title }}</h1>
<div class="summary">{% for line in doc.summary %}<p>{{ line }}</p>{% endfor %}</div>
{% for section in doc.sections %}<section>
{% if section.title %}<h2>{{ section.title }}</h2>{% endif %}
{% if section.lines %}<div class="lines">{% for line in section.lines %}<p>{{ line }}</p>{% endfor %}</div>{% endif %}
{% if section.picture %}{{ section.picture | safe }}{% endif %}
{% if section.table %}<div class="scroll"><table>
<thead><tr>{% for c in section.table.columns %}<th scope="col">{{ c }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in section.table.rows %}<tr>{% for c in row %}<td{{ words(c) }}>{{ shown(c) }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table></div>{% endif %}
</section>{% endfor %}
<footer>Made by kobe from recorded data; schema {{ doc.schema }}.</footer>
</body>
</html>
"""


def render(document: Document) -> str:
    """Return the document as HTML; everything from outside is escaped, pictures are our own SVG."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE).render(doc=document, shown=shown, words=_words)


def _words(value: object) -> str:
    """Let sentences wrap inside a table; numbers and names stay on one line."""
    from markupsafe import Markup

    return Markup(' class="words"') if isinstance(value, str) and value.count(" ") > 1 else Markup("")
