"""Pages that are made: one a method, one a room, the notebooks, what the README says."""

import ast
import functools
import json
import re
from collections.abc import Iterable
from pathlib import Path

from notebooks import methods as captions
from notebooks import pictures
from notebooks.site.names import Name, file_of, parse, rooms

ROOT = Path(__file__).parents[2]
LINKS = {  # from a file of the project to a page
    "benchmarks/README.md": "results.md",
    "benchmarks/results/scorecard.json": "scorecard.md",
    "notebooks/README.md": "notebooks.md",
    "notebooks/pictures/": "pictures/",
    "notebooks/site/": "",
    "CONTRIBUTING.md": "contributing.md",
}
BLOCK = re.compile(r"^([ \t]*)>>> .*(?:\n(?![ \t]*$).*)*", re.M)
SPEED = ("Tasks a second", "Compile time", "Roofline", "Memory of an inner loop")


def text_of(name: str) -> str:
    """A file of the project, its links led to pages."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for file, page in LINKS.items():
        text = text.replace(f"]({file}", f"]({page}")
    return text


@functools.cache
def methods() -> list[Name]:
    """The learners, which have a page each."""
    own = [n for n in rooms()["learners"] if n.name not in ("learner_of",)]
    return [name for name in own if name.node is not None]


def method_page(name: Name, results: str, recipes: Iterable[str]) -> str:
    """Equation and signature from the docstring, the commands, what was reached."""
    module = name.path.rsplit(".", 1)[0]
    said = parse_docstring(module)
    mine = [r for r in recipes if name.name in re.split(r"-", r)]
    commands = "\n".join(f"jaxmeta train {r}" for r in mine)
    lines = [f"# {name.name}", said, figure(name.name)]
    if mine:
        lines += ["## On the command line", f"```console\n{commands}\n```"]
    lines += ["## What it reached", result_row(name.name, results)]
    lines += ["## Reference", f"::: {name.path}"]
    return "\n\n".join(lines) + "\n"


def figure(name: str) -> str:
    """The picture that the method drew, with what it shows."""
    said = captions.CAPTIONS[name]
    made = (
        f"*Made by `python -m notebooks.methods {name}`, in seconds, from fixed keys.*"
    )
    return f"![{said}](../pictures/methods/{name}.png)\n\n{said} {made}"


def parse_docstring(module: str) -> str:
    """The docstring of a module, its addresses made links."""
    said = ast.get_docstring(parse(file_of(module))) or ""
    said = fenced(said)
    return re.sub(r"(https?://[^\s,;)]+?)(?=[.,;)]*(?:\s|$))", r"<\1>", said)


def result_row(name: str, results: str) -> str:
    """Its row of the table of methods, with the head; results.md says how to read it."""
    table = results.split("<!-- methods: begin -->")[1].split("<!-- methods: end")[0]
    lines = table.strip().splitlines()
    rows = [line for line in lines if line.startswith(f"| `{name}` |")]
    if not rows:
        return "Not measured."
    how = "[How these were made, and what they do not say](../results.md#methods)."
    return "\n".join([*lines[:2], *rows]) + f"\n\n{how}"


def room_page(room: str, names: list[Name]) -> str:
    """Every public name of a room; what has its place elsewhere leads there."""
    module = "jaxmeta" if room == "jaxmeta" else f"jaxmeta.{room}"
    title = "jm" if room == "jaxmeta" else f"jm.{room}"
    lines = [f"# {title}", parse_docstring(module)]
    seen: set[str] = set()
    for name in names:
        if homes().get(name.path) != f"api/{room}.md":
            lines.append(f"- [`{name.name}`]({target(name)})")
        elif name.path not in seen:
            lines.append(f"::: {name.path}")
        seen.add(name.path)
    return (
        "\n\n".join(lines).replace("\n\n- ", "\n- ").replace("\n- ", "\n\n- ", 1) + "\n"
    )


@functools.cache
def homes() -> dict[str, str]:
    """The one page where a name is explained, by its path."""
    found = {n.path: f"methods/{n.path.rsplit('.', 1)[1]}.md" for n in methods()}
    for room, names in rooms().items():
        if room != "jaxmeta":
            for name in names:
                found.setdefault(name.path, f"api/{room}.md")
    return found


def target(name: Name) -> str:
    """Where a name is explained, from a page in api/."""
    if name.path.count(".") == 1:  # a room itself
        return f"{name.name}.md" if name.name in rooms() else "../commands.md"
    if name.path not in homes():
        raise ValueError(f"{name.path}: got no page, wants a room that exports it")
    home = homes()[name.path]
    if home.startswith("methods/"):
        return f"../{home}"
    return f"{home.removeprefix('api/')}#{name.path}"


def notebook_page(path: Path, folder: Path, mathml) -> str:
    """A notebook as Markdown; its pictures are written into `folder`."""
    lines, count = [], 0
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            lines.append(with_mathml(source, mathml))
            continue
        lines.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{path.stem}_{count}.png"
                (folder / name).write_bytes(pictures.pictures_of(path)[count])
                lines.append(f"![Output of the code above](pictures/{name})")
                count += 1
            elif text := "".join(output.get("text", data.get("text/plain", []))):
                lines.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(lines) + "\n"


def with_mathml(text: str, mathml) -> str:
    """`$$...$$` and `$...$` rendered here, so that no script has to be fetched."""
    parts = re.split(r"(\$\$.+?\$\$|\$[^$\n]+?\$)", text, flags=re.S)
    for i in range(1, len(parts), 2):
        block = parts[i].startswith("$$")
        made = mathml(parts[i].strip("$"), display="block" if block else "inline")
        parts[i] = f"\n\n<div>{made}</div>\n\n" if block else made
    return "".join(parts)


def scorecard_page() -> str:
    """The last result of `python -m tests.scorecard`, failures included."""
    file = ROOT / "benchmarks" / "results" / "scorecard.json"
    kept = json.loads(file.read_text(encoding="utf-8"))
    lines = [
        "# Reliability scorecard",
        f"`python -m tests.scorecard`, {kept['platform']}. Version: of the code that was tried.",
        "| promise | kept | of | version | note |\n|---|---|---|---|---|",
    ]
    rows = [
        f"| {name} | {c['passed']} | {c['tried']} | {c['version']} | {c.get('note', '')} |"
        for name, c in kept["checks"].items()
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows) + "\n"


def speed_page(results: str) -> str:
    """The sections of the results that are about speed and memory."""
    sections = re.split(r"^(?=## )", results, flags=re.M)
    chosen = [s for s in sections if s[3:].split("\n")[0] in SPEED]
    return "# Speed and memory\n\n" + "".join(chosen)


def fenced(text: str) -> str:
    """The same text, with a fence around each run of lines from `>>>` to an empty one.

    >>> fenced("Adds.\\n\\n>>> 1 + 1\\n2")
    'Adds.\\n\\n```pycon\\n>>> 1 + 1\\n2\\n```'
    """
    return BLOCK.sub(r"\1```pycon\n\g<0>\n\1```", text)
