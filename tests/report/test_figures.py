"""A picture is a part of its page: its colours, its letters, its names."""

import re

import pytest

from jaxmeta.report import page
from jaxmeta.report.figures import OF_PAGE, Theme, drawn

NASTY = "<b>one</b> & 'two' #1f2328"


def _dots(values):
    def draw(figure, theme):
        axis = figure.subplots()
        axis.plot(values, "o-", color=theme.blue, label=NASTY)
        axis.imshow([[0.0, 1.0]], aspect="auto", extent=(0, 1, 0, 1))
        axis.axhline(1, color=theme.ink)
        axis.grid()
        axis.legend()

    return draw


@pytest.fixture(scope="module")
def two() -> list[str]:
    return [drawn(_dots([0, i]), (3, 2), 'a "dot"') for i in (1, 2)]


def test_colours_are_those_of_the_page(two):
    style = "".join(re.findall(r'style="[^"]*"', two[0]))
    for colour in Theme():
        assert colour not in style
    assert {"ink", "faint", "accent"} <= set(re.findall(r"var\(--(\w+)\)", style))
    scheme = page.STYLE.split("@media (prefers-color-scheme: dark)")
    for name in OF_PAGE:  # each has its value by day and by night
        assert all(f"--{name}: " in part for part in scheme)


def test_it_changes_nothing_else_of_the_page(two):
    for svg in two:
        assert "<style" not in svg and "<script" not in svg and "xmlns" not in svg
        assert "://" not in svg and "font-family" not in svg
        assert svg.startswith("<svg") and svg.rstrip().endswith("</svg>")
        assert 'aria-label="a &quot;dot&quot;"' in svg


def test_text_is_text_as_it_was_given(two):
    assert "&lt;b&gt;one&lt;/b&gt; &amp; 'two' #1f2328</text>" in two[0]


def test_names_in_any_letters_are_shown_as_they_are():
    def draw(figure, theme):
        figure.subplots().set_title("猫 и кот")

    assert ">猫 и кот</text>" in drawn(draw, (3, 2), "cats")


def test_two_pictures_share_no_name_and_find_their_own(two):
    named = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in two]
    used = [set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)) for svg in two]
    assert named[0] and not named[0] & named[1]
    for names, uses in zip(named, used, strict=True):
        assert {a or b for a, b in uses} and {a or b for a, b in uses} <= names


def test_the_same_picture_is_the_same_text(two):
    assert drawn(_dots([0, 1]), (3, 2), 'a "dot"') == two[0]
