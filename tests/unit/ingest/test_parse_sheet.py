"""Each sheet of a workbook is a page under its name, and each table in it can be cited by row."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

import pytest

from ingest.parse import parse
from ingest.parse.limits import Limits
from kernel.errors import FileRefused

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
Cell = str | int | float | None


def workbook(sheets: dict[str, Sequence[Sequence[Cell]] | str], *, hidden: str = "") -> bytes:
    """A minimal .xlsx; a sheet is its rows, or its XML."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        names = list(sheets)
        archive.writestr(
            "[Content_Types].xml",
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{TYPES}.sheet.main+xml"/></Types>',
        )
        package = "http://schemas.openxmlformats.org/package/2006/relationships"
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}"><Relationship Id="r" Type="{RELATIONS}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        state = {hidden: 'state="hidden"'}
        listed = "".join(
            f'<sheet name="{name}" sheetId="{n}" r:id="r{n}" {state.get(name, "")}/>' for n, name in enumerate(names, 1)
        )
        archive.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><sheets>{listed}</sheets></workbook>'
        )
        related = "".join(
            f'<Relationship Id="r{n}" Type="{RELATIONS}/worksheet" Target="worksheets/sheet{n}.xml"/>'
            for n in range(1, len(names) + 1)
        )
        archive.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{package}">{related}</Relationships>')
        for n, rows in enumerate(sheets.values(), 1):
            body = rows if isinstance(rows, str) else "".join(map(row_xml, range(1, len(rows) + 1), rows))
            archive.writestr(
                f"xl/worksheets/sheet{n}.xml", f'<worksheet xmlns="{MAIN}"><sheetData>{body}</sheetData></worksheet>'
            )
    return buffer.getvalue()


def row_xml(number: int, row: Sequence[Cell]) -> str:
    cells = ""
    for column, value in enumerate(row):
        place = f'r="{chr(65 + column)}{number}"'
        if isinstance(value, str):
            cells += f'<c {place} t="inlineStr"><is><t>{value}</t></is></c>'
        elif value is not None:
            cells += f"<c {place}><v>{value}</v></c>"
    return f'<row r="{number}">{cells}</row>'


def test_each_sheet_is_a_page_under_its_name() -> None:
    content = workbook({"People": [["Name", "Age"], ["Ada", 36], ["Bob", 7.5]], "Empty": [], "Notes": [["A remark"]]})
    parsed = parse(content, "book.xlsx")
    table = "| Name | Age |\n| --- | --- |\n| Ada | 36 |\n| Bob | 7.5 |"
    assert parsed.text == f"People\n\n{table}\n\nNotes\n\nA remark"
    assert [h.title for h in parsed.headings] == ["People", "Notes"]
    assert [parsed.text[p.start : p.end] for p in parsed.pages] == [f"People\n\n{table}", "", "Notes\n\nA remark"]
    assert [parsed.text[start:end] for start, end in parsed.blocks] == [table]


def test_blank_rows_and_columns_are_trimmed_and_part_tables() -> None:
    rows: list[list[Cell]] = [
        [],
        [None, "Sales 2024"],
        [None, "Region", None, "Total"],
        [None, "North", None, 5],
        [],
        [None, "South", None, 7],
        [],
        [None, "Person", None, None, "Role"],
        [None, "Ada", None, None, "lead"],
    ]
    assert parse(workbook({"S": rows}), "a.xlsx").text == (
        "S\n\nSales 2024\n\n| Region | Total |\n| --- | --- |\n| North | 5 |\n\n"
        "|  |  |\n| --- | --- |\n| South | 7 |\n\n| Person | Role |\n| --- | --- |\n| Ada | lead |"
    ).replace("\n\n|  |  |\n| --- | --- |\n| South", "\n| South")


def test_a_hidden_sheet_is_read_and_said_to_be_hidden() -> None:
    parsed = parse(workbook({"Shown": [["a", "b"]], "Secret": [["c", "d"]]}, hidden="Secret"), "a.xlsx")
    assert "| c | d |" in parsed.text
    assert any("'Secret' is hidden" in note for note in parsed.notes)


def test_two_cells_in_opposite_corners_are_refused_not_allocated() -> None:
    corners = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>'
    with pytest.raises(FileRefused) as caught:
        parse(workbook({"S": corners}), "a.xlsx")
    assert caught.value.code == "limit_max_text_mb"


def test_too_many_sheets_are_refused() -> None:
    with pytest.raises(FileRefused) as caught:
        parse(workbook({"A": [["x"]], "B": [["y"]]}), "a.xlsx", Limits(max_pages=1))
    assert caught.value.code == "limit_max_pages"


def test_an_opendocument_sheet_is_read_alike() -> None:
    from odfdo import Document, Table

    document = Document("spreadsheet")
    document.body.clear()
    table = Table("Prices")
    table.set_values([["Item", "Price"], ["Tea", 3], ["Milk", 2.5]])
    document.body.append(table)
    buffer = io.BytesIO()
    document.save(buffer)
    parsed = parse(buffer.getvalue(), "a.ods")
    assert parsed.text == "Prices\n\n| Item | Price |\n| --- | --- |\n| Tea | 3 |\n| Milk | 2.5 |"
    assert len(parsed.pages) == 1


@pytest.mark.parametrize("name", ["a.xlsx", "a.xls", "a.ods"])
def test_damage_is_refused(name: str) -> None:
    whole = workbook({"A": [["x", "y"]] * 50})
    content = whole[: len(whole) // 2] if name != "a.xls" else b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    with pytest.raises(FileRefused) as caught:
        parse(content, name)
    assert caught.value.code == f"broken_{name[2:]}"


def test_a_workbook_without_a_word_is_refused() -> None:
    with pytest.raises(FileRefused) as caught:
        parse(workbook({"A": []}), "a.xlsx")
    assert caught.value.code == "no_text"
