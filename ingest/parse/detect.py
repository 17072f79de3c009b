"""What a file is, by its bytes: which of the parsers reads it.

Signatures come first, then what is inside an archive or a compound file, then the question whether it can be text at
all, and the name's suffix last and only between kinds of text. It knows nothing of the structure inside a file.
"""

from __future__ import annotations

import codecs
from pathlib import PurePath
from typing import Literal, NoReturn

from ingest.parse.encoding import clean as clean
from ingest.parse.encoding import decode as decode
from ingest.parse.encoding import wide
from ingest.parse.refusal import SUPPORTED as SUPPORTED
from ingest.parse.refusal import empty, locked
from ingest.parse.texts import is_named_as_text, kind_of_text
from ingest.parse.titles import plausible_title as plausible_title
from ingest.parse.titles import stem as stem
from kernel.errors import FileRefused

Kind = Literal[
    "markdown",
    "rst",
    "html",
    "xml",
    "json",
    "jsonl",
    "csv",
    "ipynb",
    "source",
    "plain",
    "eml",
    "rtf",
    "pdf",
    "docx",
    "pptx",
    "xlsx",
    "xls",
    "ods",
    "odt",
    "epub",
    "msg",
    "image",
]

# (offset, signature, what it is, and the parser that reads it if there is one). Signatures that could open a text are
# in _WEAK: they count only beside a NUL.
_STRONG: tuple[tuple[int, bytes, str, Kind | None], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image", "image"),
    (0, b"\xff\xd8\xff", "a JPEG image", "image"),
    (0, b"II*\x00", "a TIFF image", "image"),
    (0, b"MM\x00*", "a TIFF image", "image"),
    (0, b"II+\x00", "a TIFF image", "image"),
    (0, b"MM\x00+", "a TIFF image", "image"),
    (0, b"\x7fELF", "a program (ELF)", None),
    (0, b"\x1f\x8b", "a gzip archive", None),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", None),
    (0, b"\xfd7zXZ\x00", "an xz archive", None),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive", None),
    (0, b"Rar!\x1a\x07", "a RAR archive", None),
    (0, b"SQLite format 3\x00", "an SQLite database", None),
    (0, b"OggS\x00", "an Ogg recording", None),
    (0, b"{\\rtf", "a rich text (RTF) document", "rtf"),
    (0, b"%!PS-Adobe", "a PostScript document", None),
)
_WEAK: tuple[tuple[int, bytes, str, Kind | None], ...] = (
    (0, b"GIF8", "a GIF image", "image"),
    (0, b"BM", "a BMP image", "image"),
    (8, b"WEBP", "a WebP image", "image"),
    (0, b"RIFF", "a WAV recording or an AVI film", None),
    (4, b"ftyphei", "a HEIC image", None),
    (4, b"ftyphev", "a HEIC image", None),
    (4, b"ftypmif1", "a HEIC image", None),
    (4, b"ftypavif", "an AVIF image", None),
    (4, b"ftyp", "an MP4 film", None),
    (0, b"MZ", "a program (Windows)", None),
    (0, b"ID3", "an MP3 recording", None),
    (0, b"PAR1", "a Parquet table", None),
    (0, b"BZh", "a bzip2 archive", None),
    (257, b"ustar", "a tar archive", None),
    (0, b"wOF", "a font", None),
)
_BINARY_SUFFIXES: dict[str, Kind] = {
    ".pdf": "pdf",
    ".docx": "docx",
    ".pptx": "pptx",
    ".xlsx": "xlsx",
    ".xls": "xls",
    ".ods": "ods",
    ".odt": "odt",
    ".epub": "epub",
    ".msg": "msg",
    ".rtf": "rtf",
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp"), "image"),
}
_COMPOUND: tuple[tuple[str, Kind], ...] = (("Workbook", "xls"), ("Book", "xls"), ("__properties_version1.0", "msg"))
_OLD_OFFICE = {
    "WordDocument": ("a Word document of before 2007 (.doc)", "Open it in Word or LibreOffice and save it as .docx."),
    "PowerPoint Document": (
        "a PowerPoint presentation of before 2007 (.ppt)",
        "Open it in PowerPoint or LibreOffice and save it as .pptx.",
    ),
}
_NOT_TEXT = bytes(b for b in range(32) if b not in b"\t\n\f\r\x0b\x1b")
_SAMPLE_BYTES = 1 << 18


def detect(content: bytes, name: str) -> Kind:
    """Which parser reads this.

    Raises:
        FileRefused: `empty_file`, `unsupported_type`, `binary_content`, `encrypted_<type>`, or `broken_<type>` for
            bytes that only carry such a name.
    """
    suffix = PurePath(name).suffix.lower()
    if not content.strip() or not content.removeprefix(codecs.BOM_UTF8).strip():
        raise empty(name)
    head = content[:4096]
    if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"%PDF-"):
        return "pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        from ingest.parse.zipped import kind_in_zip

        return kind_in_zip(content, name, suffix)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _in_compound(content, name, suffix)
    if suffix == ".pdf" and b"%PDF-" in head[:1024]:
        return "pdf"  # PDF allows 1,024 bytes of anything first; only the name tells that from a quotation
    flavour = wide(content)
    if not flavour:
        if kind := _signed(content, name):
            return kind
        _refuse_binary(content, name, suffix)
    return kind_of_text(content, name, flavour)


def unread(name: str, what: str, hint: str = "") -> FileRefused:
    """The error for a kind of file that is known and not read."""
    if is_named_as_text(name):
        return FileRefused(f"{name!r} is {what}, in spite of its name", hint=hint or SUPPORTED, code="binary_content")
    way_out = "Unpack it and give its files." if "archive" in what else "Save or export it as one of these and retry."
    return FileRefused(
        f"{name!r} is {what}, which Reprise does not read",
        hint=hint or f"{SUPPORTED} {way_out}",
        code="unsupported_type",
    )


def _signed(content: bytes, name: str) -> Kind | None:
    signatures = _STRONG + _WEAK if b"\0" in content[:4096] else _STRONG
    for offset, signature, what, kind in signatures:
        if content.startswith(signature, offset):
            if kind is not None:
                return kind
            if what.endswith("image"):
                raise unread(name, what, "Open it and save it as PNG or JPEG, then try again.")
            raise unread(name, what)
    return None


def _in_compound(content: bytes, name: str, suffix: str) -> Kind:
    """OLE2 holds the Office files of before 2007, Outlook messages, and every Office file with a password."""
    streams = _streams(content)
    if "EncryptedPackage" in streams:
        office = suffix[1:] if suffix in (".docx", ".xlsx", ".pptx") else "docx"
        raise locked(name, "an Office file", f"encrypted_{office}")
    for stream, kind in _COMPOUND:
        if stream in streams:
            return kind
    for stream, (what, hint) in _OLD_OFFICE.items():
        if stream in streams:
            raise unread(name, what, hint)
    if suffix in (".xls", ".msg"):
        _refuse_damaged(name, _BINARY_SUFFIXES[suffix])
    raise unread(name, "a compound file of Microsoft's of before 2007")


def _streams(content: bytes) -> set[str]:
    """The names of the streams at the top; of a file that is damaged, those that are mentioned anywhere."""
    import olefile  # type: ignore[import-untyped]

    try:
        with olefile.OleFileIO(content) as compound:
            names = {path[0] for path in compound.listdir(streams=True, storages=True)}
    except Exception:  # olefile raises many kinds on damaged files
        names = set()
    if names:
        return names
    known = ("EncryptedPackage", *(stream for stream, _ in _COMPOUND), *_OLD_OFFICE)
    return {stream for stream in known if stream.encode("utf-16-le") in content}


def _refuse_binary(content: bytes, name: str, suffix: str) -> None:
    sample = content[:_SAMPLE_BYTES]
    controls = len(sample) - len(sample.translate(None, _NOT_TEXT))
    # ISO-2022-JP is text in seven bits with escapes, which are no controls here.
    if b"\0" not in content and controls * 20 <= len(sample):
        return
    if suffix in _BINARY_SUFFIXES:
        _refuse_damaged(name, _BINARY_SUFFIXES[suffix], suffix)
    raise FileRefused(f"{name!r} holds binary data, not text", hint=SUPPORTED, code="binary_content")


def _refuse_damaged(name: str, kind: Kind, suffix: str = "") -> NoReturn:
    raise FileRefused(
        f"{name!r} does not begin like a {(suffix[1:] or kind).upper()} file",
        hint="The file is damaged or was cut off: fetch it again, or save it anew from its own program.",
        code=f"broken_{kind}",
    )
