"""Files made to harm whoever reads them: small on a disk, and large, deep or endless once they are opened."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable

LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a0 "lol">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
    + b"]>"
)
WORD_TYPES = (
    b'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" '
    b'ContentType="application/xml"/><Default Extension="rels" '
    b'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/%s" '
    b'ContentType="application/vnd.openxmlformats-officedocument.%s.main+xml"/></Types>'
)
RELATION = (
    b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" '
    b'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="%s"/>'
    b"</Relationships>"
)

W = b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>%s</w:body></w:document>'
WORDS = b"<w:p><w:r><w:t>%s</w:t></w:r></w:p>"
BOOK = b'<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheets>%s</sheets></workbook>'
CONTAINER = (
    b'<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles><rootfile '
    b'full-path="c.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
CONTENTS = (
    b'<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><manifest><item id="a" href="a.xhtml" '
    b'media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>'
)
XHTML = b'<html xmlns="http://www.w3.org/1999/xhtml"><body>%s</body></html>'
PICTURE = b"/Type/XObject/Subtype/Image/Width 60000/Height 60000/BitsPerComponent 8/ColorSpace/DeviceGray"


def office(part: str, kind: str, content: bytes, **more: bytes) -> bytes:
    """An Office file of one part, and of more whose names have `__` for a slash."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("[Content_Types].xml", WORD_TYPES % (part.encode(), kind.encode()))
        made.writestr("_rels/.rels", RELATION % part.encode())
        made.writestr(part, content)
        for name, extra in more.items():
            made.writestr(name.replace("__", "/"), extra)
    return out.getvalue()


def word(body: bytes, before: bytes = b"") -> bytes:
    return office("word/document.xml", "wordprocessingml.document", before + W % body)


def sheets(content: bytes, **more: bytes) -> bytes:
    return office("xl/workbook.xml", "spreadsheetml.sheet", content, **more)


def mail(depth: int) -> bytes:
    head = b"From: a@b.c\nSubject: s\nContent-Type: message/rfc822\n\n"
    return head * depth + b"From: a@b.c\n\nwords\n"


def small_pdf(objects: list[bytes]) -> bytes:
    """A PDF of these objects, the first of which is its catalogue."""
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table
    return bytes(out) + end + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(out))


def pages_pdf(count: int) -> bytes:
    kids = b" ".join(b"%d 0 R" % (n + 3) for n in range(count))
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>"
    tree = b"<</Type/Pages/Count %d/Kids[%s]>>" % (count, kids)
    return small_pdf([b"<</Type/Catalog/Pages 2 0 R>>", tree, *[page] * count])


def deflated(mib: int) -> bytes:
    """So many MiB of zeros, packed to a thousandth."""
    press, piece = zlib.compressobj(9), bytes(2**20)
    return b"".join(press.compress(piece) for _ in range(mib)) + press.flush()


def stream_pdf(content: bytes, picture: bytes = b"") -> bytes:
    """One page with one stream; `picture` is an image's dictionary and takes the stream's place."""
    draw = b"<</Length 30>>stream\nq 200 0 0 200 0 0 cm /I Do Q   \nendstream"
    stream = b"<</Length %d/Filter/FlateDecode%s>>stream\n%s\nendstream" % (len(content), picture, content)
    return small_pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 5 0 R/Resources<</XObject<</I 4 0 R>>>>>>",
            stream,
            draw if picture else stream,
        ]
    )


def png(width: int, height: int) -> bytes:
    """An image that says how large it is, and has hardly any of it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", deflated(1)) + chunk(b"IEND", b"")


def book(chapter: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("mimetype", b"application/epub+zip", zipfile.ZIP_STORED)
        made.writestr("META-INF/container.xml", CONTAINER)
        made.writestr("c.opf", CONTENTS)
        made.writestr("a.xhtml", chapter)
    return out.getvalue()


Makes = tuple[str, Callable[[], bytes]]

BOMBS: dict[str, Makes] = {
    "deep.html": ("", lambda: b"<div>" * 100_000 + b"words" + b"</div>" * 100_000),
    "tables.html": ("", lambda: b"<table><tr><td>" * 2_000 + b"words"),
    "lists.md": ("", lambda: b"".join(b"  " * n + b"- a\n" for n in range(1_500))),
    "quotes.md": ("", lambda: b">" * 50_000 + b" words"),
    "brackets.md": ("", lambda: b"[" * 50_000 + b"words"),
    "emphasis.md": ("", lambda: b"*a **a " * 15_000),
    "deep.json": ("", lambda: b"[" * 200_000 + b"1" + b"]" * 200_000),
    "deep.xml": ("", lambda: b"<?xml version='1.0'?>" + b"<a>" * 100_000 + b"words" + b"</a>" * 100_000),
    "laughs.xml": ("", lambda: LAUGHS + b"<d>&a11;</d>"),
    "laughs.svg": ("", lambda: LAUGHS + b'<svg xmlns="http://www.w3.org/2000/svg"><text>&a11;</text></svg>'),
    "laughs.html": ("", lambda: LAUGHS + b"<html><body>&a11; words</body></html>"),
    "laughs.docx": ("", lambda: word(WORDS % b"&a11;", LAUGHS)),
    "laughs.xlsx": ("", lambda: sheets(LAUGHS + BOOK % b"&a11;")),
    "laughs.epub": ("", lambda: book(LAUGHS + XHTML % b"&a11; words")),
    "outside.xml": ("", lambda: b'<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]><d>words &e;</d>'),
    "deep.docx": ("", lambda: word(b"<w:sdt>" * 50_000 + b"</w:sdt>" * 50_000)),
    "zeros.docx": ("limit_max_ratio", lambda: word(WORDS % (b"a" * 120 * 2**20))),
    "wide.xlsx": ("", lambda: sheets(BOOK % b"", xl__extra=bytes(60 * 2**20))),
    "zeros.zip": ("", lambda: office("readme.txt", "x", bytes(60 * 2**20))),
    "pages.pdf": ("limit_max_pages", lambda: pages_pdf(10_000)),
    "stream.pdf": ("", lambda: stream_pdf(deflated(800))),
    "circle.pdf": ("", lambda: small_pdf([b"<</Type/Catalog/Pages 1 0 R>>"])),
    "picture.pdf": ("", lambda: stream_pdf(deflated(64), picture=PICTURE)),
    "picture.png": ("limit_image_pixels", lambda: png(60_000, 60_000)),
    "empty.png": ("", lambda: png(0, 0)),
    "cut.png": ("", lambda: png(3000, 3000)),
    "line.txt": ("", lambda: b"x" * 10_000_000),
    "long.txt": ("limit_max_text_mb", lambda: b"a word of many " * 1_100_000),
    "quoted.csv": ("", lambda: b'"' + b"a,b\n" * 500_000),
    "wide.csv": ("", lambda: b"a," * 500_000 + b"\nb\n" * 50),
    "deep.rtf": ("", lambda: b"{\\rtf1" + b"{" * 100_000 + b"words" + b"}" * 100_000 + b"}"),
    "deep.ipynb": ("", lambda: b'{"cells": ' + b"[" * 100_000 + b"]" * 100_000 + b', "nbformat": 4}'),
    "deep.eml": ("", lambda: mail(300)),
}
"""How each is made, and the code it must be refused with where there is only one right answer."""
