"""A presentation is read slide by slide, with everything a viewer sees and what the speaker noted."""

from __future__ import annotations

import io
from typing import Any

import pytest
from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from ingest.parse import parse
from ingest.parse.limits import Limits
from kernel.errors import FileRefused

BOX = (Inches(1), Inches(1), Inches(4), Inches(1))


def saved(presentation: Any) -> bytes:
    buffer = io.BytesIO()
    presentation.save(buffer)
    return buffer.getvalue()


def slide(presentation: Any, title: str = "", layout: int = 5) -> Any:
    added = presentation.slides.add_slide(presentation.slide_layouts[layout])
    added.shapes.title.text = title
    return added


def test_each_slide_is_a_page_with_its_title_as_heading() -> None:
    deck = Presentation()
    first = slide(deck, "Plan", layout=1)
    first.placeholders[1].text = "one\ntwo"
    first.placeholders[1].text_frame.paragraphs[1].level = 1
    first.notes_slide.notes_text_frame.text = "Say it slowly."
    deck.slides.add_slide(deck.slide_layouts[6])
    slide(deck, "End").shapes.add_textbox(*BOX).text_frame.text = "Thank you"
    parsed = parse(saved(deck), "deck.pptx")
    assert parsed.text == "Plan\n\n- one\n  - two\n\nNotes\n\nSay it slowly.\n\nEnd\n\nThank you"
    assert [(h.level, h.title) for h in parsed.headings] == [(1, "Plan"), (2, "Notes"), (1, "End")]
    assert all(parsed.text.startswith(h.title, h.start) for h in parsed.headings)
    pages = [parsed.text[p.start : p.end] for p in parsed.pages]
    assert pages == ["Plan\n\n- one\n  - two\n\nNotes\n\nSay it slowly.", "", "End\n\nThank you"]
    assert parsed.title == "Plan"


def test_tables_groups_and_charts_are_read() -> None:
    deck = Presentation()
    shapes = slide(deck, "Numbers").shapes
    table = shapes.add_table(2, 3, *BOX).table
    for cell, text in zip(table.iter_cells(), ["a", "b", "c", "1", "2", "3|4"], strict=True):
        cell.text = text
    table.cell(0, 0).merge(table.cell(0, 1))
    outer = shapes.add_group_shape()
    outer.shapes.add_textbox(*BOX).text_frame.text = "in a group"
    outer.shapes.add_group_shape().shapes.add_textbox(*BOX).text_frame.text = "in a group in a group"
    data = CategoryChartData()
    data.categories = ["north", "south"]
    data.add_series("sales", (1.5, 2))
    shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *BOX, data)
    parsed = parse(saved(deck), "deck.pptx")
    assert [parsed.text[start:end] for start, end in parsed.blocks] == [
        "| a b |  | c |\n| --- | --- | --- |\n| 1 | 2 | 3\\|4 |",
        "|  | sales |\n| --- | --- |\n| north | 1.5 |\n| south | 2 |",
    ]
    assert "\n\nin a group\n\nin a group in a group\n\n" in parsed.text


def test_a_hidden_slide_and_a_picture_are_noted() -> None:
    from PIL import Image

    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    picture.seek(0)
    deck = Presentation()
    hidden = slide(deck, "Backstage")
    hidden._element.set("show", "0")
    hidden.shapes.add_picture(picture, *BOX)
    parsed = parse(saved(deck), "deck.pptx")
    assert parsed.text == "Backstage"
    assert any("Slide 1 is hidden" in note for note in parsed.notes)
    assert any("Pictures were left out (1)" in note for note in parsed.notes)


def test_too_many_slides_are_refused_by_the_limit() -> None:
    deck = Presentation()
    slide(deck, "One")
    slide(deck, "Two")
    with pytest.raises(FileRefused) as caught:
        parse(saved(deck), "deck.pptx", Limits(max_pages=1))
    assert caught.value.code == "limit_max_pages"


def test_damage_and_emptiness_are_refused() -> None:
    deck = Presentation()
    slide(deck, "One")
    content = saved(deck)
    with pytest.raises(FileRefused) as caught:
        parse(content[: len(content) // 2], "deck.pptx")
    assert caught.value.code == "broken_pptx"
    with pytest.raises(FileRefused) as caught:
        parse(saved(Presentation()), "deck.pptx")
    assert caught.value.code == "no_text"
