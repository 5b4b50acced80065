"""What is where: every page of the site, made or written."""

from pathlib import Path

from notebooks.site.names import rooms
from notebooks.site.pages import ROOT, methods

WRITTEN = Path(__file__).parent
GUIDES = {
    "Second-order research": "second_order.md",
    "Pretrained backbones": "pretrained.md",
    "Tables": "tables.md",
    "Reinforcement learning": "rl.md",
    "Laptop to pod": "pod.md",
    "Data": "data.md",
    "Command line": "commands.md",
    "Runs that survive": "runs.md",
    "Coming from elsewhere": "coming_from.md",
}


def nav() -> list:
    """The navigation, as MkDocs wants it."""
    books = [f"notebook_{p.stem}.md" for p in sorted(_notebooks())]
    return [
        {
            "Start": [
                {"Start": "index.md"},
                {"Ten minutes": "tour.md"},
                {"Your data, your module": "your_own.md"},
                {"Four functions": "contract.md"},
            ]
        },
        {"Guides": [{title: page} for title, page in GUIDES.items()]},
        {"Notebooks": ["notebooks.md", *books]},
        {
            "Methods": [
                f"methods/{name.path.rsplit('.', 1)[1]}.md" for name in methods()
            ]
        },
        {"Reference": [f"api/{room}.md" for room in rooms()]},
        {
            "Results": [
                {"Results": "results.md"},
                {"Speed and memory": "speed.md"},
                {"Scorecard": "scorecard.md"},
                {"Numbers you can trust": "trust.md"},
            ]
        },
        {
            "Project": [
                {"Changelog": "changelog.md"},
                {"Contributing": "contributing.md"},
            ]
        },
    ]


def pages(entries: list | None = None) -> list[str]:
    """Every file that the navigation names."""
    found = []
    for entry in nav() if entries is None else entries:
        for value in [entry] if isinstance(entry, str) else entry.values():
            found += pages(value) if isinstance(value, list) else [value]
    return found


def _notebooks() -> list[Path]:
    return list((ROOT / "notebooks").glob("*.ipynb"))
