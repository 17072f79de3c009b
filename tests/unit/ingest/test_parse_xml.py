"""XML gives its words in order; feeds give their items; entities give nothing but a refusal."""

from __future__ import annotations

import pytest

from ingest.parse import parse
from kernel.errors import FileRefused
from kernel.types import Parsed


def read(source: str, name: str = "a.xml") -> Parsed:
    return parse(source.encode(), name)


def test_a_feed_is_read_item_by_item() -> None:
    parsed = read(
        '<?xml version="1.0"?><rss><channel><title>News</title><description>Of the day</description><item>'
        "<title>First &amp; last</title><pubDate>Mon</pubDate><link>http://x</link>"
        "<description>&lt;p&gt;Words &lt;b&gt;here&lt;/b&gt;&lt;/p&gt;</description></item>"
        "<item><title>Second</title></item></channel></rss>"
    )
    assert parsed.text == "News\n\nOf the day\n\nFirst & last\n\npubDate: Mon\nlink: http://x\n\nWords here\n\nSecond"
    assert [(h.level, h.title) for h in parsed.headings] == [(1, "News"), (2, "First & last"), (2, "Second")]
    assert parsed.title == "News"


def test_an_atom_feed_is_read_alike() -> None:
    parsed = read(
        '<feed xmlns="http://www.w3.org/2005/Atom"><title>Log</title><entry><title>One</title><link href="http://x"/>'
        "<updated>2024</updated><content type='html'>&lt;p&gt;Body</content></entry></feed>",
        "a.atom",
    )
    assert parsed.text == "Log\n\nOne\n\nupdated: 2024\nlink: http://x\n\nBody"


def test_elements_that_name_themselves_are_headings_and_order_is_kept() -> None:
    parsed = read(
        "<book><title>Tea</title><chapter><title>Leaves</title><para>Green <em>or</em> black.</para>"
        "<section><title>Green</title><para>Light.</para></section></chapter>"
        "<chapter><title>Water</title><para>Hot.</para></chapter></book>"
    )
    assert parsed.text == "Tea\n\nLeaves\n\nGreen or black.\n\nGreen\n\nLight.\n\nWater\n\nHot."
    assert [(h.level, h.title) for h in parsed.headings] == [(1, "Tea"), (2, "Leaves"), (3, "Green"), (2, "Water")]


def test_records_are_rows_of_a_table() -> None:
    parsed = read('<o><row id="1"><a>x</a><b>y</b></row><row id="2"><a>z</a></row></o>')
    assert parsed.text == "| id | a | b |\n| --- | --- | --- |\n| 1 | x | y |\n| 2 | z |  |"
    assert len(parsed.blocks) == 1


def test_single_leaves_are_lines() -> None:
    assert read("<config><host>a.example</host><port n='5'/><port>80</port></config>").text == (
        "- host: a.example\n- port: n=5\n- port: 80"
    )


def test_a_declared_encoding_is_believed() -> None:
    source = '<?xml version="1.0" encoding="windows-1250"?><a><p>Kôň ťažký</p></a>'
    assert parse(source.encode("cp1250"), "a.xml").text == "Kôň ťažký"


def test_xhtml_is_read_by_what_it_shows() -> None:
    parsed = read('<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body><p>Hi</p></body></html>')
    assert (parsed.text, parsed.media_type) == ("Hi", "text/html")


LAUGHS = '<!DOCTYPE l [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(12)
)


@pytest.mark.parametrize(
    "source",
    [
        f"<?xml version='1.0'?>{LAUGHS}]><l>&m;</l>",
        '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><l>&a;</l>',
        '<!DOCTYPE l [<!ENTITY % a SYSTEM "http://localhost/x"> %a;]><l/>',
    ],
)
def test_entities_are_refused_never_expanded(source: str) -> None:
    with pytest.raises(FileRefused) as caught:
        read(source)
    assert caught.value.code == "unsafe_xml"
    assert caught.value.hint


def test_a_doctype_alone_does_no_harm() -> None:
    assert read('<!DOCTYPE a SYSTEM "a.dtd"><a><p>Words</p></a>').text == "Words"


def test_depth_is_no_danger() -> None:
    assert read("<a>" * 50_000 + "word" + "</a>" * 50_000).text == "- a: word"


def test_damage_and_emptiness_are_refused() -> None:
    for source, code in (("<a><b></a>", "broken_xml"), ("<a/>", "no_text")):
        with pytest.raises(FileRefused) as caught:
            read(source)
        assert caught.value.code == code
