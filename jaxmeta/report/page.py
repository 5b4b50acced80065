"""One static HTML page: no script, nothing loaded from anywhere."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #1f2328;
  --soft: #59636e; --line: #e1e4e8; --accent: #2f6fd0; --warn: #9a5b00;
  --faint: #d5d9de; --orange: #d9720a; --good: #1f7a4a; --bad: #c03434; }
@media (prefers-color-scheme: dark) { :root { --ground: #0f1216; --card: #171b21;
  --ink: #e6e9ee; --soft: #9aa4b0; --line: #2b313a; --accent: #6ea8fe;
  --faint: #3a414b; --orange: #ffa657;
  --warn: #ffb454; --good: #56c28a; --bad: #ff7b72; } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem }
h1 { font-size: 1.5rem; line-height: 1.3; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin: 0 0 .35rem }
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
.plot { display: block; width: 100%; min-width: 34rem; margin: 0 auto }
.plot * { stroke-linejoin: round; stroke-linecap: butt }
table { border-collapse: collapse; width: 100%; font-size: .88rem }
td, th { padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; text-align: left; font-weight: 400; overflow-wrap: anywhere }
th { color: var(--soft) }
.facts-of td:first-child { color: var(--soft); white-space: nowrap; width: 40% }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr));
  gap: 0 2rem; align-items: start }
.note { font-size: .85rem; margin: .7rem 0 0 }
.episode, .mistakes { width: auto }
.episode td, .episode th { border: 0; padding: .25rem 1.4rem .25rem 0;
  vertical-align: middle } .episode th { max-width: 11rem }
.episode th:first-child, .mistakes th { min-width: 5.5rem; overflow-wrap: break-word }
.episode td > div, .wrap { display: flex; gap: .55rem } .wrap { flex-wrap: wrap }
figure { margin: 0; width: 4.4rem; flex: none; font-size: .74rem; line-height: 1.25 }
figure img { width: 100%; border: 1px solid var(--line); border-radius: 4px }
.sharp { image-rendering: pixelated } figcaption { margin-top: .15rem }
.right img { border: 2px solid var(--good) } .right { color: var(--good) }
.wrong img { border: 2px solid var(--bad) } .wrong { color: var(--bad) }
.mistakes th { max-width: 9rem; line-height: 1.25; vertical-align: bottom }
.mistakes th:first-child { vertical-align: middle }
.mistakes td { min-width: 5.5rem; text-align: center; border: 1px solid var(--line);
  padding: .3rem; vertical-align: middle;
  background: color-mix(in srgb, var(--accent) var(--part, 0%), transparent) }
.numbered td, .numbered th { min-width: 2.4rem; text-align: center }
.numbered th:first-child { min-width: 13rem; max-width: 20rem; text-align: left }
.wrap figure { width: 6.3rem }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """The whole page."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{chr(10).join(parts)}\n</main></body></html>\n"
    )


def write(file: Path, whole: str) -> None:
    """Writes beside the file and renames: a reader sees the old page or the new."""
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_text(whole, encoding="utf-8")
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def section(title: str, about: str, body: str) -> str:
    """A card: a heading, a sentence, and what is to be seen."""
    return f"<section><h2>{text(title)}</h2><p>{_prose(about)}</p>{body}</section>"


def hero(
    title: str,
    recipe: str,
    value: str,
    interval: str,
    caption: str,
    facts: Mapping[str, object],
    warn: str,
) -> str:
    """The top of the page: what was done, by which recipe, and the number it gave."""
    cells = "".join(
        f"<div><span>{text(k)}</span>{text(v)}</div>" for k, v in facts.items()
    )
    warning = f'<p class="warn">{text(warn)}</p>' if warn else ""
    return (
        f"<h1>{text(title)}</h1><p>{_prose(recipe)}</p><section>"
        f'<div class="big">{text(value)} <small>{text(interval)}</small>'
        f'</div><p>{_prose(caption)}</p>{warning}<div class="facts">{cells}</div></section>'
    )


def table(rows: Mapping[str, object]) -> str:
    """Names and values, in two columns where there is room.

    What is not set does not shout: such names are a line below.
    """
    items = [(k, shown(v)) for k, v in rows.items() if v is not None and v != ""]
    unset = [k for k, v in rows.items() if v is None or v == ""]
    half = -(-len(items) // 2)
    sides = "".join(_rows(part) for part in (items[:half], items[half:]) if part)
    below = note(f"Not set: {', '.join(unset)}.") if unset else ""
    return f'<div class="two">{sides}</div>{below}'


def shown(value: object) -> str:
    """A plain value as a reader would write it.

    >>> shown(0.30000000000000004), shown([64, 64]), shown(True), shown({"file": "a.py"})
    ('0.3', '64, 64', 'yes', 'file a.py')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        if set(value) == {"file", "function", "sha256"}:  # a user's function
            return f"{value['file']}:{value['function']}"
        return ", ".join(f"{k} {shown(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return str(value)


def note(words: str) -> str:
    """A small line."""
    return f'<p class="note">{_prose(words)}</p>'


def text(value: object) -> str:
    """Anything, as text that is no HTML."""
    return html.escape(str(value), quote=True)


def name(value: str) -> str:
    """A name that may be long: where it can be broken, it says so."""
    return text(value).replace("_", "_<wbr>").replace("/", "/<wbr>")


def inline(png: bytes) -> str:
    """A PNG as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _rows(items: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{text(k)}</td><td>{text(v)}</td></tr>" for k, v in items)
    return f'<table class="facts-of">{cells}</table>'


def _prose(words: str) -> str:
    """A sentence, in which no number is at the end of a line and its % on the next."""
    return text(words).replace(" %", "&nbsp;%")
