"""A rendered page taken apart for what a reader without eyes, colours or a network needs of it."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input", "line", "circle", "rect", "path", "polyline", "polygon"}
LEAST_CONTRAST = 4.5


@dataclass
class Element:
    """A tag with its attributes, its children and the words right inside it."""

    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    words: str = ""

    def every(self, tag: str) -> list["Element"]:
        """Return every element of a kind below this one."""
        found = [c for c in self.children if c.tag == tag]
        return found + [d for c in self.children for d in c.every(tag)]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("root", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {k: v or "" for k, v in attrs})
        self.open[-1].children.append(made)
        if tag not in VOID:
            self.open.append(made)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"<{self.open[-1].tag}> is closed by </{tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].words += data


def parse(page: str) -> Element:
    """Return the page's tree; tags that do not match are a failed assertion."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == [reader.root]
    return reader.root


def faults(page: str) -> list[str]:
    """Return what a page lacks: language, landmark, order of headings, names of pictures, heads of tables, quiet."""
    root, found = parse(page), []
    html = root.every("html")
    found += [] if html and html[0].attributes.get("lang") == "en" else ["no language"]
    found += [] if len(root.every("main")) == 1 else ["not one <main>"]
    found += [] if len(root.every("h1")) == 1 else ["not one <h1>"]
    found += [] if any(m.attributes.get("name") == "viewport" for m in root.every("meta")) else ["no viewport"]
    for svg in root.every("svg"):
        titles = svg.every("title")
        named = svg.attributes.get("role") == "img" and svg.attributes.get("aria-label")
        found += [] if named and titles and len(titles[0].words) > 10 else ["a picture without a title"]
    found += [f"an image without words: {i.attributes}" for i in root.every("img") if not i.attributes.get("alt")]
    for table in root.every("table"):
        heads = [th for row in table.every("thead") for th in row.every("th")]
        found += [] if heads and all(h.attributes.get("scope") == "col" for h in heads) else ["a table without heads"]
        rows = [th for body in table.every("tbody") for th in body.every("th")]
        found += [] if all(h.attributes.get("scope") == "row" for h in rows) else ["a row's head without scope"]
    found += ["a script"] if root.every("script") or re.search(r"\son\w+=", page) else []
    found += ["it loads something"] if re.search(r"""(?:src|href)=|url\(|@import|https?://""", page) else []
    return found


def colours(page: str, scheme: str) -> dict[str, str]:
    """Return the colours of a page by name, in `light` or `dark`."""
    blocks = re.findall(r":root\s*\{([^}]*)\}", page)
    named = [dict(re.findall(r"--(\w+):\s*(#[0-9a-fA-F]{6})", block)) for block in blocks]
    return named[0] if scheme == "light" else {**named[0], **named[1]}


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours like #1d2733, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
