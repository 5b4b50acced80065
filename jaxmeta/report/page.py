"""One static HTML page: no script, nothing loaded from anywhere."""

import base64
import html
from collections.abc import Sequence

STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #1f2328;
  --soft: #59636e; --line: #e1e4e8; --accent: #2f6fd0; --warn: #9a5b00; }
@media (prefers-color-scheme: dark) { :root { --ground: #0f1216; --card: #171b21;
  --ink: #e6e9ee; --soft: #9aa4b0; --line: #2b313a; --accent: #6ea8fe;
  --warn: #ffb454; } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 0 0 .35rem }
p { margin: .2rem 0 .8rem; color: var(--soft); max-width: 46rem }
section { background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; padding: 1.25rem 1.4rem; margin-top: 1.1rem; overflow-x: auto }
.big { font-size: 2.9rem; font-weight: 650; letter-spacing: -.02em; line-height: 1.15;
  margin: .4rem 0 0; color: var(--accent); font-variant-numeric: tabular-nums }
.big small { font-size: 1.25rem; font-weight: 500; color: var(--soft) }
.facts { display: flex; flex-wrap: wrap; gap: .5rem 1.9rem; margin-top: 1rem }
.facts div { font-variant-numeric: tabular-nums; font-weight: 600 }
.facts span { display: block; font-size: .8rem; font-weight: 400; color: var(--soft) }
.warn { color: var(--warn); font-weight: 600 }
img { max-width: 100%; height: auto; display: block; margin: 0 auto }
table { border-collapse: collapse; width: 100%; font-size: .88rem }
td { padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top } td:first-child { color: var(--soft); white-space: nowrap }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr));
  gap: 0 2rem } code { font-size: .88em }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """The whole page."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{chr(10).join(parts)}\n</main></body></html>\n"
    )


def section(title: str, text: str, body: str) -> str:
    """A card: a heading, a sentence, and what is to be seen."""
    return (
        f"<section><h2>{html.escape(title)}</h2><p>{_prose(text)}</p>{body}</section>"
    )


def hero(
    name: str,
    summary: str,
    value: str,
    interval: str,
    caption: str,
    facts: dict,
    warn: str,
) -> str:
    """The top of the page: what was run, and the number it gave."""
    cells = "".join(
        f"<div><span>{html.escape(k)}</span>{html.escape(str(v))}</div>"
        for k, v in facts.items()
    )
    warning = f'<p class="warn">{html.escape(warn)}</p>' if warn else ""
    return (
        f"<h1>{html.escape(name)}</h1><p>{_prose(summary)}</p><section>"
        f'<div class="big">{html.escape(value)} <small>{html.escape(interval)}</small>'
        f'</div><p>{_prose(caption)}</p>{warning}<div class="facts">{cells}</div></section>'
    )


def picture(light: bytes, dark: bytes, alt: str) -> str:
    """A picture in two versions; the reader's colour scheme chooses."""
    return (
        '<picture><source media="(prefers-color-scheme: dark)" '
        f'srcset="{_inline(dark)}"><img src="{_inline(light)}" '
        f'alt="{html.escape(alt, quote=True)}"></picture>'
    )


def table(rows: dict[str, object]) -> str:
    """Names and values, in two columns where there is room."""
    items = list(rows.items())
    half = -(-len(items) // 2)
    sides = (_rows(items[:half]), _rows(items[half:]))
    return f'<div class="two">{"".join(sides)}</div>'


def _rows(items: list[tuple[str, object]]) -> str:
    cells = "".join(
        f"<tr><td>{html.escape(k)}</td><td>{html.escape(str(v))}</td></tr>"
        for k, v in items
    )
    return f"<table>{cells}</table>"


def _prose(text: str) -> str:
    """A sentence, in which no number is at the end of a line and its % on the next."""
    return html.escape(text).replace(" %", "&nbsp;%")


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
