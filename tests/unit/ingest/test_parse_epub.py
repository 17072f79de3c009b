"""A book is read chapter by chapter in the order of its spine."""

from __future__ import annotations

import io
import zipfile

import pytest

from ingest.parse import parse
from ingest.parse.limits import Limits
from kernel.errors import FileRefused

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OPS/book.opf"/></rootfiles></container>'
)
PACKAGE = """<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title>A Book of Tea</dc:title></metadata><manifest>
<item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="b" href="b%20two.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>
<item id="g" href="gone.xhtml" media-type="application/xhtml+xml"/>
<item id="c" href="cover.xhtml" media-type="application/xhtml+xml"/></manifest>
<spine><itemref idref="c"/><itemref idref="n"/><itemref idref="a"/><itemref idref="b"/><itemref idref="g"/></spine>
</package>"""
NAV = """<html xmlns="http://www.w3.org/1999/xhtml"><body><nav><ol><li><a href="a.xhtml">One</a></li>
<li><a href="b%20two.xhtml#x">Two: brewing</a></li></ol></nav></body></html>"""


def book(**changes: str | bytes) -> bytes:
    members: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "OPS/book.opf": PACKAGE,
        "OPS/nav.xhtml": NAV,
        "OPS/cover.xhtml": "<html><body><img src='x'/></body></html>",
        "OPS/a.xhtml": "<html><body><h1>One</h1><p>Leaves.</p>"
        "<table><tr><td>a</td><td>b</td></tr></table></body></html>",
        "OPS/b two.xhtml": "<html><body><p>Water.</p></body></html>",
    } | {key.replace("__", "/").replace("_DOT_", "."): value for key, value in changes.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return buffer.getvalue()


def test_chapters_come_in_the_order_of_the_spine_under_their_headings() -> None:
    parsed = parse(book(), "tea.epub")
    assert parsed.text == "One\n\nLeaves.\n\n| a | b |\n| --- | --- |\n\nTwo: brewing\n\nWater."
    assert [(h.level, h.title) for h in parsed.headings] == [(1, "One"), (1, "Two: brewing")]
    assert all(parsed.text.startswith(h.title, h.start) for h in parsed.headings)
    assert [parsed.text[start:end] for start, end in parsed.blocks] == ["| a | b |\n| --- | --- |"]
    assert parsed.title == "A Book of Tea"
    assert any("1 chapter(s)" in note for note in parsed.notes)


def test_a_first_line_that_is_the_title_is_not_repeated() -> None:
    content = book(
        OPS__b_DOT_xhtml="", **{"OPS__b two_DOT_xhtml": "<html><body><p>Two: Brewing</p><p>Water.</p></body></html>"}
    )
    parsed = parse(content, "tea.epub")
    assert parsed.text.endswith("\n\nTwo: Brewing\n\nWater.")
    assert parsed.text.count("rewing") == 1


def test_a_book_that_is_locked_is_refused() -> None:
    locked = '<encryption><CipherReference URI="OPS/a.xhtml"/></encryption>'
    with pytest.raises(FileRefused) as caught:
        parse(book(**{"META-INF__encryption_DOT_xml": locked}), "tea.epub")
    assert caught.value.code == "encrypted_epub"


@pytest.mark.parametrize("member", ["META-INF__container_DOT_xml", "OPS__book_DOT_opf"])
def test_damage_is_refused(member: str) -> None:
    with pytest.raises(FileRefused) as caught:
        parse(book(**{member: "<oops"}), "tea.epub")
    assert caught.value.code == "broken_epub"


def test_entities_of_the_package_are_not_expanded() -> None:
    laughs = '<!DOCTYPE package [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>' + PACKAGE.replace("A Book of Tea", "&b;")
    assert "haha" not in parse(book(OPS__book_DOT_opf=laughs), "tea.epub").title


def test_bombs_and_crowds_are_refused_by_their_limit() -> None:
    with pytest.raises(FileRefused) as caught:
        parse(book(OPS__x=b" " * 2**26), "tea.epub")
    assert caught.value.code == "limit_max_ratio"
    with pytest.raises(FileRefused) as caught:
        parse(book(), "tea.epub", Limits(max_members=3))
    assert caught.value.code == "limit_max_members"
