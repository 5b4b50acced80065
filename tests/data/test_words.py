"""Texts as numbers, and Grocery Store's catalogue: real files where they are, and damage."""

import csv
import shutil
import zipfile

import numpy as np
import pytest

from jaxmeta.data import DataError, grocery_catalogue, tf_idf, vocabulary
from jaxmeta.data.grocery_catalogue import take_products
from jaxmeta.data.words import words_of

TEXTS = [
    "A green apple with firm, white pulp; green and sour.",
    "Milk of 3% fat: fresh milk.",
    "A red apple. Red, sweet & soft pulp!",
]


def test_weights_are_those_of_the_formula():
    known = vocabulary(TEXTS)
    n = {w: sum(w in words_of(t) for t in TEXTS) for w in known.words}
    want = []
    for text in TEXTS:
        words = words_of(text)
        row = [
            (1 + np.log(words.count(w))) * (np.log(4 / (1 + n[w])) + 1)
            if w in words
            else 0.0
            for w in known.words
        ]
        want.append(np.array(row) / np.linalg.norm(row))
    np.testing.assert_allclose(tf_idf(TEXTS, known), want, rtol=1e-6)
    assert n["apple"] == 2 and "and" not in known.words and "fat" in known.words


def test_weights_are_those_of_scikit_learn():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    theirs = text.TfidfVectorizer(analyzer=words_of, sublinear_tf=True).fit(TEXTS)
    known = vocabulary(TEXTS)
    assert tuple(theirs.get_feature_names_out()) == known.words
    unseen = [*TEXTS, "red red milk, and a pear"]
    want = theirs.transform(unseen).toarray()
    np.testing.assert_allclose(tf_idf(unseen, known), want, atol=1e-7)


def test_rare_words_can_be_left_out():
    assert vocabulary(TEXTS, fewest=2).words == ("apple", "pulp")
    with pytest.raises(DataError, match="texts: got 1 without a word"):
        vocabulary(["of the"])
    with pytest.raises(ValueError, match="fewest: got 0"):
        vocabulary(TEXTS, fewest=0)


def test_the_published_catalogue(real_data, tmp_path):
    root = real_data / "grocery"
    found = grocery_catalogue(root, 4)
    assert found.pictures.inputs.shape == (81, 4, 4, 3)
    assert found.pictures.counts.tolist() == [1] * 81
    two = take_products(found, ["Zucchini", "Banana"])
    assert two.groups == ("Zucchini", "Banana")
    assert "Bananas are good as snacks" in two.descriptions[1]
    at = found.pictures.names.index("Banana")
    np.testing.assert_array_equal(two.pictures.inputs[1], found.pictures.inputs[at])

    (tmp_path / "classes.csv").write_text("class,coarse\nBanana,Banana\n")
    with pytest.raises(DataError, match=r"classes\.csv, row 2 has no description"):
        grocery_catalogue(tmp_path, 4)
    with (root / "classes.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    with (tmp_path / "classes.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows[:-1])
    with pytest.raises(DataError, match="has 80 classes, wants a table of 81"):
        grocery_catalogue(tmp_path, 4)
    shutil.copy(root / "classes.csv", tmp_path)
    with pytest.raises(DataError, match=r"iconic\.zip is missing"):
        grocery_catalogue(tmp_path, 4)
    with zipfile.ZipFile(tmp_path / "iconic.zip", "w") as archive:
        archive.writestr("Banana.jpg", b"")
    with pytest.raises(DataError, match=r"has no .*\.jpg of at most 8 MiB"):
        grocery_catalogue(tmp_path, 4)
    (tmp_path / "iconic.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"iconic\.zip is damaged"):
        grocery_catalogue(tmp_path, 4)
    (tmp_path / "classes.csv").unlink()
    with pytest.raises(DataError, match=r"classes\.csv is missing"):
        grocery_catalogue(tmp_path, 4)
