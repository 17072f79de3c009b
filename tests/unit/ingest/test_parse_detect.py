"""What a file is told by, and what is refused, with which code."""

from __future__ import annotations

import codecs
import io
import zipfile

import pytest

from ingest.parse import parse
from ingest.parse.detect import detect
from ingest.parse.limits import Limits
from ingest.parse.texts import suffix_for
from kernel.errors import FileRefused


def refusal(content: bytes, name: str) -> FileRefused:
    with pytest.raises(FileRefused) as caught:
        parse(content, name)
    assert caught.value.hint, "a refusal tells what to do"
    assert repr(name) in caught.value.message
    return caught.value


def archive(*members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for member in members:
            zipped.writestr(member, "x")
    return buffer.getvalue()


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0"
ELF = b"\x7fELF\x02\x01\x01\0\0\0"
OLE2 = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512)


@pytest.mark.parametrize(
    ("content", "name", "code"),
    [
        (b"", "a.txt", "empty_file"),
        (b" \n\t\r\n", "a.md", "empty_file"),
        (codecs.BOM_UTF8 + b"\n", "a.md", "empty_file"),
        (codecs.BOM_UTF16_LE, "a.txt", "empty_file"),
        (ELF, "a.md", "binary_content"),
        (ELF, "a.txt", "binary_content"),
        (b"some text\0and a NUL", "a.txt", "binary_content"),
        (codecs.BOM_UTF16_LE + "a\0b".encode("utf-16-le"), "a.txt", "binary_content"),
        (bytes(range(1, 32)) * 20, "a.txt", "binary_content"),
        (HEIC, "a.heic", "unsupported_type"),
        (PNG, "a.png", "broken_image"),
        (PNG, "a", "broken_image"),
        (PNG, "a.md", "broken_image"),
        (b"BM\x00\x00\x01\x00", "a.bmp", "broken_image"),
        (archive("xl/workbook.xml", "[Content_Types].xml"), "a.xlsx", "broken_xlsx"),
        (archive("ppt/presentation.xml"), "a.pptx", "broken_pptx"),
        (archive("mimetype", "content.xml"), "a.bin", "unsupported_type"),
        (archive("mimetype", "content.xml"), "a.odt", "broken_odt"),
        (archive("a.txt"), "a.zip", "unsupported_type"),
        (archive("a.txt"), "a.md", "binary_content"),
        (OLE2, "a.doc", "unsupported_type"),
        (OLE2 + "WordDocument".encode("utf-16-le"), "a.doc", "unsupported_type"),
        (OLE2 + "PowerPoint Document".encode("utf-16-le"), "a.ppt", "unsupported_type"),
        (OLE2, "a.xls", "broken_xls"),
        (OLE2, "a.msg", "broken_msg"),
        (OLE2 + "EncryptedPackage".encode("utf-16-le"), "a.xlsx", "encrypted_xlsx"),
        (OLE2 + "EncryptedPackage".encode("utf-16-le"), "a.docx", "encrypted_docx"),
        (b"PK\x03\x04 and then nothing", "a.docx", "broken_docx"),
        (archive("a.txt"), "a.docx", "broken_docx"),
        (b"\0\1\2 once a document", "a.docx", "broken_docx"),
        (b"%PDF-1.7\nand then nothing", "a.pdf", "broken_pdf"),
        (b"\0\1\2 once a document", "a.pdf", "broken_pdf"),
        (codecs.BOM_UTF8 + b"cut off in a character \xe2\x82", "a.txt", "undecodable_text"),
        ("Größe und Maß, schön für Bücher übers Gärtnern".encode() + b" \x92", "a.txt", "undecodable_text"),
        (bytes(range(128, 256)) * 4, "a.txt", "undecodable_text"),
    ],
)
def test_a_file_that_cannot_become_text_is_refused_with_its_reason(content: bytes, name: str, code: str) -> None:
    assert refusal(content, name).code == code


def test_an_unsupported_type_is_told_what_is_supported() -> None:
    refused = refusal(ELF, "program")
    assert "program" in refused.message
    for kind in ("Markdown", "HTML", "PDF", ".docx", ".xlsx", ".eml", "PNG"):
        assert kind in refused.hint


@pytest.mark.parametrize(
    ("content", "name", "suffix"),
    [
        (OLE2 + "WordDocument".encode("utf-16-le"), "a.doc", ".docx"),
        (OLE2 + "PowerPoint Document".encode("utf-16-le"), "a.ppt", ".pptx"),
        (HEIC, "a.heic", "PNG"),
    ],
)
def test_an_old_format_is_told_what_to_save_it_as(content: bytes, name: str, suffix: str) -> None:
    assert suffix in refusal(content, name).hint


def test_a_file_beyond_the_limit_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(FileRefused) as caught:
        parse(b"x" * (2**20 + 1), "a.txt", Limits(max_upload_mb=1))
    assert caught.value.code == "too_large"
    assert "REPRISE_MAX_UPLOAD_MB" in caught.value.hint


def test_a_text_beyond_the_limit_is_refused() -> None:
    with pytest.raises(FileRefused) as caught:
        parse(b"word " * 210_000, "a.md", Limits(max_text_mb=1))
    assert caught.value.code == "limit_max_text_mb"


def test_content_beats_the_name() -> None:
    assert parse(b"# plain words", "report.pdf").media_type == "text/plain"
    assert parse(b"<!doctype html><p>hello", "download").media_type == "text/html"
    assert parse(b"BMW is a car; MZ opens a program", "a.txt").text.startswith("BMW")
    assert parse(b"The signature is %PDF-1.7 here", "a.md").media_type == "text/markdown"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.md", "text/markdown"),
        ("A.MARKDOWN", "text/markdown"),
        ("a.html", "text/html"),
        ("a.HTM", "text/html"),
        ("a.txt", "text/plain"),
        ("a.rst", "text/x-rst"),
        ("a.csv", "text/csv"),
        ("a.py", "text/x-source; language=python"),
        ("a", "text/plain"),
    ],
)
def test_the_name_decides_between_kinds_of_text(name: str, media_type: str) -> None:
    assert parse(b"hello *there*", name).media_type == media_type


def test_markup_named_as_plain_text_stays_as_written() -> None:
    source = "<!doctype html><p>kept"
    assert parse(source.encode(), "a.txt").text == source


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("naïve café — “quoted”", "utf-8-sig"),
        ("naïve café — “quoted”", "utf-16"),
        ("naïve café", "utf-16-be"),
        ("hello there, plain words", "utf-16-le"),
        ("naïve café 🎈", "utf-32"),
        ("café", "latin-1"),
        ("Temperature 25°C ±0.5", "cp1252"),
        ("“Smart quotes” – and a dash… café", "cp1252"),
        ("L'été, à côté de la forêt, où l'on chante", "cp1252"),
        ("Müller fährt über die Straße nach Köln.", "latin-1"),
        ("Привет, как дела? Это простой текст на русском языке.", "cp1251"),
        ("Привет, как дела? Это простой текст на русском языке.", "koi8-r"),
        ("这是一个中文文档，用来测试编码的检测。", "gb18030"),
        ("姓名,年龄,城市\n张伟,30,北京\n", "gbk"),
        ("姓名,年齡,城市\n陳大文,30,臺北\n", "big5"),
        ("關於放假的通知", "big5"),
        ("이름,나이,도시\n김철수,30,서울\n", "euc_kr"),
        ("これは文字コードのテストです。", "euc_jp"),
        ("商品名\t価格\nりんご\t100\n", "cp932"),
        ("名前,年齢,住所\n佐藤太郎,30,東京\n三木英子,25,大阪\n", "shift_jis"),
    ],
)
def test_text_is_read_in_the_encoding_it_was_written_in(text: str, encoding: str) -> None:
    assert parse(text.encode(encoding), "a.txt").text == text


def test_an_encoding_that_was_guessed_is_said() -> None:
    (note,) = parse("関西の天気は晴れです。".encode("cp932"), "a.txt").notes
    assert "cp932" in note
    assert parse("関西の天気は晴れです。".encode(), "a.txt").notes == ()


def test_an_encoding_guessed_from_the_start_holds_for_a_long_file() -> None:
    text = "plain words\n" * 50_000 + "und dann kommt die Größe\n" * 20
    assert parse(text.encode("cp1252"), "a.txt").text == text


def test_line_ends_become_one_kind() -> None:
    assert parse(b"a\r\nb\rc\n", "a.txt").text == "a\nb\nc\n"


def test_the_title_of_last_resort_is_the_stem_of_the_name() -> None:
    assert parse(b"x", "/some/where/My notes.txt").title == "My notes"
    assert parse(b"x", "").title == "untitled"
    assert parse(b"x", "bad\udcffname.txt").title == "badname"


def test_a_file_of_lines_is_one_block() -> None:
    parsed = parse(b"12:00 started\n12:01 stopped\n", "server.log")
    assert parsed.blocks == ((0, len(parsed.text)),)
    assert parse(b"12:00 started\n12:01 stopped\n", "server.txt").blocks == ()


@pytest.mark.parametrize(
    "name",
    [
        "a.md",
        "a.html",
        "a.rst",
        "a.csv",
        "a.json",
        "a.jsonl",
        "a.ipynb",
        "a.eml",
        "a.xml",
        "a.txt",
        "a.py",
        "a.c",
        "a.sql",
    ],
)
def test_a_text_is_read_alike_under_any_name_by_its_media_type(name: str) -> None:
    content = {
        "a.json": b"{}",
        "a.jsonl": b"{}",
        "a.ipynb": b'{"nbformat": 4, "nbformat_minor": 5, "cells": [{"cell_type": "raw", "source": "x"}]}',
        "a.eml": b"From: a@b.c\n\nx",
        "a.xml": b"<a>x</a>",
    }.get(name, b"words, here\nand, there\n")
    parsed = parse(content, name)
    found = suffix_for(parsed.media_type)
    assert found is not None
    kind, suffix = found
    assert detect(content, f"any name{suffix}") == kind == detect(content, name)
    assert parse(content, f"any name{suffix}").text == parsed.text
