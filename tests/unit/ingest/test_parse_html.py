"""HTML becomes what a reader sees, and nothing else of it."""

from __future__ import annotations

import pytest

from ingest.parse import parse
from kernel.errors import FileRefused
from kernel.types import Parsed


def read(source: str) -> Parsed:
    return parse(source.encode(), "page.html")


def test_blocks_are_parted_and_inline_markup_is_not() -> None:
    parsed = read("<div>One <b>bo</b>ld\n  word.<p>Two<br>lines</p></div><p>H<sub>2</sub>O</p>")
    assert parsed.text == "One bold word.\n\nTwo\nlines\n\nH2O"


def test_what_a_reader_does_not_see_is_not_there() -> None:
    parsed = read(
        """<head><title>T</title><style>p{}</style></head><body><nav>menu</nav><div role=navigation>menu</div>
        <script>alert('x')</script><p onclick="alert(1)">shown</p><!-- comment --><p hidden>secret</p>
        <p style="display: none">secret</p><div style="visibility:hidden">secret</div><noscript>secret</noscript>
        <template>secret</template><svg><text>secret</text></svg><h2>Head<script>secret()</script></h2>
        <table><tr><td>a<script>secret()</script></td><td>b</td></tr></table></body>"""
    )
    assert parsed.text == "shown\n\nHead\n\n| a | b |\n| --- | --- |"
    assert parsed.title == "page"


def test_headings_stand_where_their_lines_begin() -> None:
    parsed = read("<h1>A  <i>first</i><br>line</h1><p>x</p><section><h3>Deep</h3>y</section>")
    assert [(h.level, h.title) for h in parsed.headings] == [(1, "A first line"), (3, "Deep")]
    assert [parsed.text[h.start :].split("\n")[0] for h in parsed.headings] == ["A first line", "Deep"]
    assert parsed.title == "A first line"


def test_lists_keep_their_nesting() -> None:
    parsed = read("<ul><li>one<ul><li>in</li></ul><li><p>two</p><p>more</p><ol><li>x</ol></ul><p>after")
    assert parsed.text == "- one\n  - in\n- two\n  more\n  - x\n\nafter"


def test_tables_become_markdown_tables_and_blocks() -> None:
    parsed = read(
        "<table><caption>Sizes</caption><tr><th>a<th>b<th>c<tr><td colspan=2>1|2<td><p>x</p><p>y</p><tr><td>z</table>"
    )
    table = "| a | b | c |\n| --- | --- | --- |\n| 1\\|2 |  | x y |\n| z |  |  |"
    assert parsed.text == f"Sizes\n\n{table}"
    assert [parsed.text[start:end] for start, end in parsed.blocks] == [table]


def test_a_table_that_lays_out_the_page_is_read_through() -> None:
    parsed = read("<table><tr><td><h1>Title</h1><td><table><tr><td>a<td>b<tr><td>1<td>2</table></table>")
    assert parsed.text == "Title\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert [h.title for h in parsed.headings] == ["Title"]


def test_preformatted_text_keeps_its_spaces() -> None:
    parsed = read("<p>Run:</p><pre><code>if x:\n    y()\n\n    <b>z</b>()</code></pre>")
    assert parsed.text == "Run:\n\nif x:\n    y()\n\n    z()"
    assert [parsed.text[start:end] for start, end in parsed.blocks] == ["if x:\n    y()\n\n    z()"]


def test_the_title_is_h1_then_title_then_stem() -> None:
    assert read("<title>From the head</title><h1>From the page</h1>").title == "From the page"
    assert read("<title> From\n the head </title><p>x").title == "From the head"
    assert read("<p>x").title == "page"


def test_a_page_without_words_of_its_own_is_refused() -> None:
    with pytest.raises(FileRefused) as caught:
        read("<html><script>document.write('hello')</script><div id=root></div>")
    assert caught.value.code == "no_text"


def test_the_declared_encoding_is_believed_unless_the_bytes_say_otherwise() -> None:
    page = '<meta charset="{}"><p>Kôň ťažký</p>'
    assert parse(page.format("windows-1250").encode("cp1250"), "a.html").text == "Kôň ťažký"
    assert parse(page.format("windows-1250").encode(), "a.html").text == "Kôň ťažký"
    assert parse("<meta charset=iso-8859-1><p>a – b".encode("cp1252"), "a.html").text == "a – b"
    xhtml = "<?xml version='1.0' encoding='iso-8859-2'?><html><p>Kôň ťažký</p></html>"
    assert parse(xhtml.encode("iso-8859-2"), "a.xhtml").text == "Kôň ťažký"


def test_entities_of_the_document_are_never_resolved() -> None:
    attack = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><html><p>a &e; b</p></html>'
    assert read(attack).text.split() in (["a", "&e;", "b"], ["]>", "a", "&e;", "b"])


def test_very_deep_pages_are_read_to_the_end() -> None:
    deep = 3000
    assert read("<div>" * deep + "deep" + "</div>" * deep + "<p>after").text == "deep\n\nafter"
    assert read("<ul><li>" * deep + "deep").text.strip() == "- deep"


@pytest.mark.parametrize("source", ["just words", "http://example.com/page", "<?xml version='1.0'?><feed>x</feed>"])
def test_what_is_hardly_html_is_read_without_a_warning(source: str) -> None:
    assert read(source).text


def test_a_cell_that_reaches_down_leaves_its_place_blank() -> None:
    text = read("<table><tr><th>a<th>b</tr><tr><td rowspan=2>1<td>2</tr><tr><td>3</tr></table>").text
    assert text == "| a | b |\n| --- | --- |\n| 1 | 2 |\n|  | 3 |"
