"""A Word document is read in its order, with everything a reader sees in its body."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import docx
import pytest
from docx.document import Document
from docx.oxml import parse_xml

from ingest.parse import parse
from kernel.errors import FileRefused
from kernel.types import Parsed

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def saved(document: Document) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def read(document: Document, name: str = "a.docx") -> Parsed:
    return parse(saved(document), name)


def rezipped(content: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            new.writestr(member, change(member, old.read(member)))
    return buffer.getvalue()


def code_of(content: bytes) -> str:
    with pytest.raises(FileRefused) as caught:
        parse(content, "a.docx")
    assert caught.value.hint
    return caught.value.code


def test_headings_paragraphs_lists_and_tables_come_in_document_order() -> None:
    document = docx.Document()
    document.add_heading("The title", 0)
    document.add_paragraph("Before.")
    document.add_heading("Part", 1)
    document.add_paragraph("one", style="List Bullet")
    document.add_paragraph("two", style="List Number")
    table = document.add_table(2, 2)
    for cell, text in zip([c for row in table.rows for c in row.cells], ("a", "b", "c|", "d\ne"), strict=True):
        cell.text = text
    document.add_heading("Sub", 2)
    document.add_paragraph("After.")
    parsed = read(document)
    table_text = "| a | b |\n| --- | --- |\n| c\\| | d e |"
    assert parsed.text == f"The title\n\nBefore.\n\nPart\n\n- one\n- two\n\n{table_text}\n\nSub\n\nAfter."
    assert [(h.level, h.title) for h in parsed.headings] == [(1, "The title"), (1, "Part"), (2, "Sub")]
    assert all(parsed.text.startswith(h.title, h.start) for h in parsed.headings)
    assert [parsed.text[start:end] for start, end in parsed.blocks] == [table_text]
    assert parsed.title == "The title"


def test_merged_cells_are_written_once() -> None:
    document = docx.Document()
    table = document.add_table(2, 3)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "wide"
    table.cell(0, 2).merge(table.cell(1, 2)).text = "tall"
    table.cell(1, 0).text = "x"
    assert read(document).text == "| wide |  | tall |\n| --- | --- | --- |\n| x |  |  |"


def test_a_frame_of_one_column_is_read_as_text() -> None:
    document = docx.Document()
    document.add_table(1, 1).cell(0, 0).text = "Note well."
    assert read(document).text == "Note well."


def test_insertions_and_content_controls_are_read_and_deletions_are_not() -> None:
    document = docx.Document()
    paragraph = document.add_paragraph("kept ")
    paragraph._p.append(parse_xml(f"<w:ins {W}><w:r><w:t>inserted</w:t></w:r></w:ins>"))
    paragraph._p.append(parse_xml(f"<w:del {W}><w:r><w:delText>deleted</w:delText></w:r></w:del>"))
    paragraph._p.append(parse_xml(f"<w:r {W}><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r>"))
    document.element.body.insert(
        0, parse_xml(f"<w:sdt {W}><w:sdtContent><w:p><w:r><w:t>controlled</w:t></w:r></w:p></w:sdtContent></w:sdt>")
    )
    assert read(document).text == "controlled\n\nkept inserted"


def test_a_heading_may_come_from_an_outline_level_or_a_derived_style() -> None:
    document = docx.Document()
    style = document.styles.add_style("Chapter", 1)
    style.base_style = document.styles["Heading 2"]
    document.add_paragraph("Derived", style="Chapter")
    outlined = document.add_paragraph("Outlined")
    outlined._p.get_or_add_pPr().append(parse_xml(f'<w:outlineLvl {W} w:val="2"/>'))
    document.add_paragraph("Text.")
    assert [(h.level, h.title) for h in read(document).headings] == [(2, "Derived"), (3, "Outlined")]


def test_the_title_falls_back_to_the_core_title_and_then_the_stem() -> None:
    document = docx.Document()
    document.add_paragraph("Text.")
    assert read(document, "letter.docx").title == "letter", "python-docx's own core title says nothing"
    document.core_properties.title = "A real title"
    assert read(document, "letter.docx").title == "A real title"


def test_a_document_without_words_is_refused() -> None:
    assert code_of(saved(docx.Document())) == "no_text"


def test_damage_is_refused() -> None:
    document = docx.Document()
    document.add_paragraph("Text. " * 100)
    content = saved(document)
    assert code_of(content[: len(content) // 2]) == "broken_docx"
    assert code_of(rezipped(content, lambda n, b: b"<oops" if n == "word/document.xml" else b)) == "broken_docx"


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    document = docx.Document()
    document.add_paragraph("Text.")
    bomb = rezipped(saved(document), lambda n, b: b + b" " * 2**26 if n == "word/document.xml" else b)
    assert len(bomb) < 2**18
    assert code_of(bomb) == "limit_max_ratio"


def test_external_entities_are_never_resolved() -> None:
    document = docx.Document()
    document.add_paragraph("MARK")

    def attack(member: str, content: bytes) -> bytes:
        if member != "word/document.xml":
            return content
        doctype = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd"><!ENTITY f "expanded">]>'
        return content.replace(b"?>", b"?>" + doctype, 1).replace(b"MARK", b"safe &e; &f;")

    try:
        text = parse(rezipped(saved(document), attack), "a.docx").text
    except FileRefused as refused:
        text = refused.message
    assert "root:" not in text
    assert "expanded" not in text


M = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'


def test_fractions_and_powers_do_not_run_into_one_word() -> None:
    document = docx.Document()
    document.add_paragraph("So ")._p.append(
        parse_xml(
            f"<m:oMath {M}><m:f><m:num><m:r><m:t>a+1</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f>"
            "<m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>3</m:t></m:r></m:sup></m:sSup></m:oMath>"
        )
    )
    assert read(document).text == "So (a+1)/2x^3"


def test_a_document_with_macros_and_a_template_are_read() -> None:
    document = docx.Document()
    document.add_paragraph("Text.")
    plain = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    for other in (
        b"application/vnd.ms-word.document.macroEnabled.main+xml",
        b"application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml",
    ):
        assert parse(rezipped(saved(document), lambda n, b, new=other: b.replace(plain, new)), "a.docm").text == "Text."


def test_a_footnote_follows_its_paragraph() -> None:
    from docx.opc.packuri import PackURI
    from docx.opc.part import Part

    document = docx.Document()
    paragraph = document.add_paragraph("Claim")
    paragraph._p.append(parse_xml(f'<w:r {W}><w:footnoteReference w:id="2"/></w:r>'))
    document.add_paragraph("Next.")
    notes = (
        f'<w:footnotes {W}><w:footnote w:id="2"><w:p><w:r><w:t>The source.</w:t></w:r></w:p></w:footnote></w:footnotes>'
    )
    content_type = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    part = Part(PackURI("/word/footnotes.xml"), content_type, notes.encode(), document.part.package)
    document.part.relate_to(part, "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes")
    assert read(document).text == "Claim\n\nNote 2: The source.\n\nNext."
