"""svmlight files against scikit-learn's writer; what is broken is one line."""

import gzip

import numpy as np
import pytest
from sklearn.datasets import dump_svmlight_file

from jaxmeta.data.errors import DataError
from jaxmeta.data.reviews import amazon_reviews, svmlight


def write(folder, name, x, y):
    path = folder / f"{name}.svmlight"
    dump_svmlight_file(x, y, str(path), zero_based=True)
    packed = folder / f"{name}.svmlight.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return packed


@pytest.fixture
def root(tmp_path):
    random = np.random.default_rng(0)
    for i, name in enumerate(("books", "dvd")):
        for part, n in (("train", 6), ("test", 4)):
            x = random.integers(0, 4, (n, 5)) * (random.random((n, 5)) < 0.3)
            x[:, 3 + i] = 7  # a word that every review of this domain has
            write(tmp_path, f"{name}_{part}", x, np.arange(n) % 2)
    return tmp_path


def test_reads_what_scikit_learn_writes(tmp_path):
    random = np.random.default_rng(1)
    x = np.round(random.normal(size=(9, 6)) * (random.random((9, 6)) < 0.5), 3)
    x[4] = 0  # a row without entries
    y = random.integers(-1, 2, 9)
    inputs, labels = svmlight(write(tmp_path, "a", x, y), 6)
    np.testing.assert_allclose(inputs, x, rtol=1e-6)
    np.testing.assert_array_equal(labels, y)
    assert inputs.dtype == np.float32


def test_domains(root):
    found = amazon_reviews(root, total=5)
    assert list(found) == ["books", "dvd"]
    books = found["books"]
    assert books.train.names == ("negative", "positive")
    assert books.train.counts.tolist() == [3, 3] and books.test.counts.tolist() == [
        2,
        2,
    ]
    assert (books.train.inputs[:, 3] == 7).all()
    assert list(amazon_reviews(root, ["dvd"], total=5)) == ["dvd"]


def test_words_are_kept_by_document_frequency(root):
    found = amazon_reviews(root, total=5, features=2)
    for part in (found["books"].train, found["dvd"].test):
        assert part.inputs.shape[1] == 2
    assert (found["books"].train.inputs == 7).any(0).sum() == 1
    assert (found["dvd"].train.inputs == 7).any(0).sum() == 1


@pytest.mark.parametrize(
    "text, message",
    [
        ("1 0:1 9:2\n0 1:1\n", "columns 0 to 9"),
        ("1 0:1 x:2\n0 1:1\n", "wants a svmlight file"),
        ("1 0:1 2\n0 1:1\n", "wants lines of"),
        ("", "wants lines of"),
        ("1 0.5:1\n0 1:1\n", "wants integers"),
    ],
)
def test_what_is_broken_is_said(tmp_path, text, message):
    path = tmp_path / "a.svmlight"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        svmlight(path, 5)


def test_damaged_archive(tmp_path):
    path = tmp_path / "a.svmlight.gz"
    path.write_bytes(gzip.compress(b"1 0:1\n" * 100)[:-9])
    with pytest.raises(DataError, match=r"a.svmlight.gz: got"):
        svmlight(path, 5)


def test_missing_domains(root, tmp_path):
    with pytest.raises(DataError, match="domain 'cd': got books, dvd"):
        amazon_reviews(root, ["cd"], total=5)
    with pytest.raises(DataError, match="wants one a domain"):
        amazon_reviews(root / "nothing", total=5)
    write(root, "cd_train", np.ones((3, 5)), np.zeros(3))
    with pytest.raises(DataError, match="wants two of them"):
        amazon_reviews(root, ["cd"], total=5)


def test_the_real_files(real_data):
    found = amazon_reviews(real_data / "amazon_reviews", ["kitchen"])["kitchen"]
    assert found.train.inputs.shape == (2000, 5000)
    assert found.test.inputs.shape == (5945, 5000)
    assert found.train.counts.tolist() == [1000, 1000]
