"""Builds the site into build/site; a broken link or a name without a page is an error.

    pip install ".[docs]"
    python -m notebooks.site

It works from the file system and without a network: fonts are those of the reader, search
is in the pages, mathematics is MathML.
"""

import json
import logging
import shutil
import time
from pathlib import Path

import mkdocs.config
from latex2mathml.converter import convert
from mkdocs.commands.build import build

from jaxmeta.runs.registry import known
from notebooks import pictures
from notebooks.site import pages
from notebooks.site.names import PACKAGE, rooms
from notebooks.site.nav import WRITTEN, nav

BUILD = pages.ROOT / "build"
SHIM = "https://unpkg.com/iframe-worker/shim"  # the theme fetches it, for file://


def write(folder: Path) -> None:
    """Every page, as Markdown, into a folder that is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("pictures", "methods", "api"):
        (folder / part).mkdir(parents=True)
    for path in WRITTEN.glob("*.md"):
        shutil.copy(path, folder)
    for name, data in pictures.chosen().items():
        (folder / "pictures" / f"{name}.png").write_bytes(data)
    shutil.copytree(pages.captions.FOLDER, folder / "pictures" / "methods")
    results = pages.text_of("benchmarks/README.md")
    books = pages.text_of("notebooks/README.md").replace(".ipynb)", ".md)")
    made = {
        "index": pages.text_of("README.md"),
        "results": results.replace("# Benchmarks", "# Results", 1),
        "speed": pages.speed_page(results),
        "scorecard": pages.scorecard_page(),
        "changelog": pages.text_of("CHANGELOG.md"),
        "contributing": pages.text_of("CONTRIBUTING.md"),
        "notebooks": books.replace("](0", "](notebook_0").replace(
            "](1", "](notebook_1"
        ),
    }
    for name in pages.methods():
        page = pages.method_page(name, results, known())
        made[f"methods/{name.path.rsplit('.', 1)[1]}"] = page
    for room, names in rooms().items():
        made[f"api/{room}"] = pages.room_page(room, names)
    for path in sorted(pages.ROOT.glob("notebooks/*.ipynb")):
        book = pages.notebook_page(path, folder / "pictures", convert)
        made[f"notebook_{path.stem}"] = book
    for name, text in made.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    for file in (pages.ROOT / "CITATION.cff", WRITTEN / "worker.js"):
        shutil.copy(file, folder)


def config(folder: Path) -> dict:
    """What MkDocs is told."""
    schemes = {"default": "dark", "slate": "light"}
    palette = [
        {
            "media": f"(prefers-color-scheme: {'dark' if scheme == 'slate' else 'light'})",
            "scheme": scheme,
            "primary": "indigo",
            "toggle": {"icon": "material/brightness-6", "name": f"To {other}"},
        }
        for scheme, other in schemes.items()
    ]
    handler = {
        "paths": [str(PACKAGE.parent)],
        "options": {
            "docstring_style": "google",
            "extensions": ["notebooks.site.fences"],
            "docstring_options": {
                "returns_named_value": False,
                "returns_multiple_items": False,
                "warnings": False,  # types are in signatures
            },
            "show_root_heading": True,
            "show_root_full_path": False,
            "show_source": True,
            "show_signature_annotations": True,
            "separate_signature": True,
            "heading_level": 2,
        },
    }
    return {
        "site_name": "jaxmeta",
        "docs_dir": str(folder),
        "site_dir": str(BUILD / "site"),
        "strict": True,
        "theme": {"name": "material", "font": False, "palette": palette,
                  "features": ["navigation.tabs", "content.code.copy"]},
        "plugins": ["search", "offline",
                    {"mkdocstrings": {"handlers": {"python": handler}}}],
        "markdown_extensions": ["tables", "admonition", "pymdownx.highlight",
                                "pymdownx.superfences", {"toc": {"permalink": True}}],
        "validation": {"links": {"anchors": "warn"}},
        "nav": nav(),
    }  # fmt: skip


def main() -> None:
    """Builds it."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    start = time.perf_counter()
    source = BUILD / "pages"
    write(source)
    file = BUILD / "mkdocs.yml"
    file.write_text(json.dumps(config(source)), encoding="utf-8")  # JSON is YAML
    made = mkdocs.config.load_config(str(file))
    made.plugins.on_startup(command="build", dirty=False)
    build(made)
    made.plugins.on_shutdown()
    for page in (BUILD / "site").rglob("*.html"):  # nothing comes from elsewhere
        up = "../" * (len(page.relative_to(BUILD / "site").parts) - 1)
        text = page.read_text(encoding="utf-8").replace(SHIM, f"{up}worker.js")
        page.write_text(text, encoding="utf-8")
    print(f"{BUILD / 'site' / 'index.html'}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
