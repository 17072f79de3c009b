"""An OpenDocument text is read in its order, with everything a reader sees in its body."""

from __future__ import annotations

import io

import pytest
from odfdo import Document, Element, Header, List, Paragraph, Table

from ingest.parse import parse
from kernel.errors import FileRefused
from kernel.types import Parsed


def saved(*elements: Element) -> bytes:
    document = Document("text")
    document.body.clear()
    for element in elements:
        document.body.append(element)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def read(*elements: Element) -> Parsed:
    return parse(saved(*elements), "a.odt")


def test_headings_paragraphs_lists_and_tables_come_in_document_order() -> None:
    table = Table("T")
    table.set_values([["Name", "Age"], ["Ada", 36]])
    parsed = read(
        Header(1, "The title"),
        Paragraph("Before."),
        List(["one", "two"]),
        Header(2, "Part"),
        table,
        Paragraph("After."),
    )
    rows = "| Name | Age |\n| --- | --- |\n| Ada | 36 |"
    assert parsed.text == f"The title\n\nBefore.\n\n- one\n- two\n\nPart\n\n{rows}\n\nAfter."
    assert [(h.level, h.title) for h in parsed.headings] == [(1, "The title"), (2, "Part")]
    assert [parsed.text[start:end] for start, end in parsed.blocks] == [rows]
    assert parsed.title == "The title"


def test_spaces_tabs_and_line_ends_are_kept_and_notes_follow() -> None:
    paragraph = Element.from_tag(
        "<text:p>two<text:s text:c='2'/>spaces<text:tab/>tab<text:line-break/>line"
        "<text:note text:note-class='footnote'><text:note-citation>1</text:note-citation><text:note-body>"
        "<text:p>The note.</text:p></text:note-body></text:note><office:annotation><text:p>gone</text:p>"
        "</office:annotation> <text:span>end</text:span></text:p>"
    )
    assert read(paragraph).text == "two  spaces\ttab\nline end\n\nNote 1: The note."


def test_tracked_deletions_are_left_out() -> None:
    changes = Element.from_tag("<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>")
    assert read(changes, Paragraph("Kept.")).text == "Kept."


def test_damage_emptiness_and_bombs_are_refused() -> None:
    content = saved(Paragraph("Text. " * 500))
    for broken, code in ((content[: len(content) // 2], "broken_odt"), (saved(), "no_text")):
        with pytest.raises(FileRefused) as caught:
            parse(broken, "a.odt")
        assert caught.value.code == code


def test_a_locked_file_is_refused_as_such() -> None:
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        archive.writestr("content.xml", b"\x01\x02")
        archive.writestr("META-INF/manifest.xml", "<manifest:encryption-data/>")
    with pytest.raises(FileRefused) as caught:
        parse(buffer.getvalue(), "a.odt")
    assert caught.value.code == "encrypted_odt"
