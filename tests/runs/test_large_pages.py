"""The command asks for large pages of memory once, and only where they are to be had."""

import os
import sys

import pytest

from jaxmeta import cli
from jaxmeta.runs import large_pages
from jaxmeta.runs.large_pages import with_large_pages

ASKED = "glibc.malloc.hugetlb=1"


@pytest.fixture
def lent(tmp_path, monkeypatch):
    """A system that lends large pages to whoever asks."""
    file = tmp_path / "enabled"
    file.write_text("always [madvise] never\n")
    monkeypatch.setattr(large_pages, "LENT", file)
    return file


def test_what_is_said_to_the_c_library_is_added_to(lent):
    assert with_large_pages({"A": "b"}) == {"A": "b", "GLIBC_TUNABLES": ASKED}
    said = {"GLIBC_TUNABLES": "glibc.malloc.check=1"}
    assert with_large_pages(said) == {"GLIBC_TUNABLES": f"glibc.malloc.check=1:{ASKED}"}


@pytest.mark.parametrize(
    "said",
    [{"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, {"JAXMETA_LARGE_PAGES": "0"}],
)
def test_who_has_said_something_keeps_it(lent, said):
    assert with_large_pages(said) is None


@pytest.mark.parametrize("text", ["[always] madvise never", "always madvise [never]"])
def test_nothing_is_asked_where_it_changes_nothing(lent, text):
    lent.write_text(text)
    assert with_large_pages({}) is None
    lent.unlink()
    assert with_large_pages({}) is None


@pytest.mark.parametrize(("word", "again"), [("train", True), ("list", False)])
def test_the_command_starts_once_more(lent, monkeypatch, word, again):
    started = []
    monkeypatch.setattr(os, "execve", lambda *words: started.append(words))
    monkeypatch.setattr(cli, "main", lambda: 0)
    for name in ("GLIBC_TUNABLES", "JAXMETA_LARGE_PAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", ["jaxmeta", word, "--steps", "2"])
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-m", "jaxmeta", word])
    assert cli.run() == 0
    assert len(started) == again
    for program, words, environment in started:
        assert [program, *words[1:]] == [sys.executable, "-m", "jaxmeta", word]
        assert environment["GLIBC_TUNABLES"] == ASKED
