"""One picture of each notebook, out of its outputs: for the index, the site, the README.

    python -m notebooks.pictures

Needs no more than Python: nothing is run, nothing is drawn anew.
"""

import base64
import json
from pathlib import Path

FOLDER = Path(__file__).parent
PICTURES = FOLDER / "pictures"
# which of its pictures says what a notebook is about; of others the last one does
CHOSEN = {"01": 1, "02": 2, "04": 0, "05": 1, "06": 0, "07": 2, "08": 1}


def pictures_of(path: Path) -> list[bytes]:
    """The PNG files in a notebook's outputs, in order."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    drawn = [output.get("data", {}).get("image/png") for output in outputs]
    return [base64.b64decode("".join(data)) for data in drawn if data]


def chosen() -> dict[str, bytes]:
    """The picture of each notebook that has one, by the notebook's name."""
    made = {}
    for path in sorted(FOLDER.glob("*.ipynb")):
        if all_of_it := pictures_of(path):
            made[path.stem] = all_of_it[CHOSEN.get(path.stem[:2], -1)]
    return made


def main() -> None:
    """Writes them."""
    PICTURES.mkdir(exist_ok=True)
    for name, data in chosen().items():
        (PICTURES / f"{name}.png").write_bytes(data)


if __name__ == "__main__":
    main()
