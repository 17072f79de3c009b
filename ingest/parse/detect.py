"""What a file is, by its bytes, and how its bytes become characters.

Signatures come first, then the question whether it can be text at all, and the name's suffix last and only
between kinds of text. It knows nothing of the structure inside a file.
"""

from __future__ import annotations

import codecs
import re
import zipfile
from io import BytesIO
from pathlib import PurePath
from typing import Literal

from kernel.errors import FileRefused

Kind = Literal["markdown", "html", "plain", "pdf", "docx"]

SUPPORTED = "Reprise reads Markdown, plain text, HTML, PDF and Word (.docx) files."

_MARKDOWN = frozenset({".md", ".markdown", ".mdown", ".mkd", ".mdx"})
_HTML = frozenset({".html", ".htm", ".xhtml"})
_PLAIN = frozenset({".txt", ".text", ".rst", ".adoc", ".org", ".tex", ".csv", ".tsv", ".log", ".json", ".xml"})
_NAMED_AS_TEXT = _MARKDOWN | _HTML | _PLAIN

# (offset, signature, what it is). Signatures that could open a text are in _WEAK: they count only beside a
# NUL.
_STRONG: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"II*\x00", "a TIFF image"),
    (0, b"MM\x00*", "a TIFF image"),
    (0, b"\x7fELF", "a program (ELF)"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"SQLite format 3\x00", "an SQLite database"),
    (0, b"OggS\x00", "an Ogg recording"),
    (0, b"{\\rtf", "a rich text (RTF) document"),
    (0, b"%!PS-Adobe", "a PostScript document"),
)
_WEAK: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF image"),
    (0, b"BM", "a BMP image"),
    (0, b"RIFF", "a RIFF file (WebP, WAV or AVI)"),
    (4, b"ftyp", "a HEIC image or an MP4 film"),
    (0, b"MZ", "a program (Windows)"),
    (0, b"ID3", "an MP3 recording"),
    (0, b"PAR1", "a Parquet table"),
    (0, b"BZh", "a bzip2 archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"wOF", "a font"),
)
_BOMS: tuple[tuple[bytes, str], ...] = (  # longest first: the mark of UTF-16 opens the mark of UTF-32
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NOT_TEXT = bytes(b for b in range(32) if b not in b"\t\n\f\r\x0b\x1b")
_OPENS_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*+-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_SAMPLE_BYTES = 1 << 18


def detect(content: bytes, name: str) -> Kind:
    """Which parser reads this.

    Raises:
        FileRefused: `empty_file`, `unsupported_type`, `binary_content`, `encrypted_docx`, or `broken_pdf` /
            `broken_docx` for bytes that only carry such a name.
    """
    suffix = PurePath(name).suffix.lower()
    if not content.strip() or not content.removeprefix(codecs.BOM_UTF8).strip():
        raise _empty(name)
    head = content[:4096]
    if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"%PDF-"):
        return "pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return _in_zip(content, name, suffix)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        _refuse_compound(content, name, suffix)
    if suffix == ".pdf" and b"%PDF-" in head[:1024]:
        return "pdf"  # PDF allows 1,024 bytes of anything first; only the name tells that from a quotation
    wide = _wide(content)
    if not wide:
        _refuse_known(content, name, suffix)
        _refuse_binary(content, name, suffix)
    if suffix in _MARKDOWN:
        return "markdown"
    if suffix in _HTML:
        return "html"
    if suffix not in _PLAIN:
        opening = head.decode(wide, "ignore").encode() if wide else head.removeprefix(codecs.BOM_UTF8)
        if _OPENS_HTML.match(opening):
            return "html"
    return "plain"


def decode(content: bytes, name: str, declared: str | None = None) -> str:
    r"""The characters of a text file, with every line end as `\n`.

    A byte order mark wins, then valid UTF-8, then what the file itself declares, then a guess. Nothing is
    replaced or dropped on the way: a file that no candidate decodes to its last byte is refused.

    Args:
        declared: an encoding named inside the file, as HTML does.

    Raises:
        FileRefused: `undecodable_text`, `empty_file`, or `binary_content` where the characters hold a NUL.
    """
    text = _decode(content, name, declared)
    if not text.strip():
        raise _empty(name)
    if "\0" in text:
        raise FileRefused(f"{name!r} has NUL characters, so it is not text", hint=SUPPORTED, code="binary_content")
    return clean(text)


def clean(text: str) -> str:
    r"""`text` with line ends as `\n`, without NUL and without lone surrogates."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        # Two surrogates that make a pair are one character; what is left over stands for nothing.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return text


def stem(name: str) -> str:
    """The title of last resort: the file name without folder and suffix."""
    path = PurePath(clean(name))
    return " ".join((path.stem or path.name or "untitled").split())[:200] or "untitled"


def plausible_title(title: str | None) -> str | None:
    """A title from a file's metadata if a person could have meant it, else None: programs leave much."""
    title = " ".join(clean(title or "").split())
    if not 2 <= len(title) <= 200 or not any(c.isalpha() for c in title) or "\ufffd" in title:
        return None
    if any(ord(c) < 32 for c in title) or re.search(r"\.\w{2,5}$", title):
        return None
    if re.match(r"(?i)(\W|untitled|unknown|microsoft word\b|powerpoint|word document$|document\d*$|slide \d)", title):
        return None
    return title


def _empty(name: str) -> FileRefused:
    return FileRefused(f"{name!r} is empty", hint="Give a file that has text in it.", code="empty_file")


def _in_zip(content: bytes, name: str, suffix: str) -> Kind:
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            members = set(archive.namelist())
    except Exception as exc:  # zipfile raises many kinds on broken archives, among them NotImplementedError
        if suffix == ".docx":
            raise _damaged_word(name, str(exc)) from exc
        raise _known(name, suffix, "a ZIP archive (damaged)") from exc
    if "word/document.xml" in members:
        return "docx"
    if any(m.startswith("xl/") for m in members):
        raise _known(name, suffix, "an Excel workbook")
    if any(m.startswith("ppt/") for m in members):
        raise _known(name, suffix, "a PowerPoint presentation")
    if "mimetype" in members:
        raise _known(name, suffix, "an OpenDocument or EPUB file")
    if suffix == ".docx":
        raise _damaged_word(name, "it has no document part")
    raise _known(name, suffix, "a ZIP archive")


def _damaged_word(name: str, why: str) -> FileRefused:
    return FileRefused(
        f"{name!r} is a damaged Word document: {why}",
        hint="Open it in Word or LibreOffice, save it again as .docx and retry.",
        code="broken_docx",
    )


def _refuse_compound(content: bytes, name: str, suffix: str) -> None:
    """OLE2 holds the Office files of before 2007, Outlook messages, and every Office file with a password."""
    if "EncryptedPackage".encode("utf-16-le") in content:
        raise FileRefused(
            f"{name!r} is an Office file with a password",
            hint="Open it, remove the password, save it as .docx and try again.",
            code="encrypted_docx",
        )
    raise _known(name, suffix, "an Office file from before 2007, or an Outlook message")


def _refuse_known(content: bytes, name: str, suffix: str) -> None:
    for offset, signature, what in _STRONG:
        if content.startswith(signature, offset):
            raise _known(name, suffix, what)
    if b"\0" in content[:4096]:
        for offset, signature, what in _WEAK:
            if content.startswith(signature, offset):
                raise _known(name, suffix, what)


def _refuse_binary(content: bytes, name: str, suffix: str) -> None:
    sample = content[:_SAMPLE_BYTES]
    controls = len(sample) - len(sample.translate(None, _NOT_TEXT))
    if b"\0" not in content and controls * 20 <= len(sample):
        return
    if suffix in (".pdf", ".docx"):
        raise FileRefused(
            f"{name!r} does not begin like a {suffix[1:].upper()} file",
            hint="The file is damaged or was cut off: fetch it again, or save it anew from its own program.",
            code=f"broken_{suffix[1:]}",
        )
    raise FileRefused(f"{name!r} holds binary data, not text", hint=SUPPORTED, code="binary_content")


def _known(name: str, suffix: str, what: str) -> FileRefused:
    if suffix in _NAMED_AS_TEXT:
        return FileRefused(f"{name!r} is {what}, in spite of its name", hint=SUPPORTED, code="binary_content")
    hint = SUPPORTED
    if "image" in what:
        hint += " Text in images needs OCR first."
    elif "archive" in what:
        hint += " Unpack it and give its files."
    else:
        hint += " Save or export it as one of these and try again."
    return FileRefused(f"{name!r} is {what}, which Reprise does not read", hint=hint, code="unsupported_type")


def _wide(content: bytes) -> str | None:
    """The UTF-16 or UTF-32 flavour of a text with a mark, or of one that plainly is UTF-16; else None."""
    for mark, encoding in _BOMS:
        if encoding != "utf-8" and content.startswith(mark):
            return encoding
    sample = content[: 1 << 14]
    if len(content) % 2 or sample.count(0) * 4 < len(sample):
        return None
    for encoding, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
        # Text in a Latin script: nearly every other byte is zero, and never the ones between.
        if sample.count(0) == zeros.count(0) and zeros.count(0) * 10 >= len(zeros) * 7:
            return encoding
    return None


def _decode(content: bytes, name: str, declared: str | None) -> str:
    for mark, marked in _BOMS:
        if content.startswith(mark):
            return _strict(content[len(mark) :], marked, name)
    if wide := _wide(content):
        return _strict(content, wide, name)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as exc:
        flaw = exc
    for encoding in (_codec(declared), _guess(content, flaw)):
        if encoding:
            try:
                return content.decode(encoding)
            except UnicodeDecodeError:
                continue
    raise FileRefused(
        f"{name!r} is in no character encoding that could be recognised: byte {content[flaw.start]:#04x} at "
        f"offset {flaw.start:,} is not UTF-8",
        hint="Save the file as UTF-8 and try again.",
        code="undecodable_text",
    )


def _strict(content: bytes, encoding: str, name: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as exc:
        raise FileRefused(
            f"{name!r} begins as {encoding.upper()} but offset {exc.start:,} is not: {exc.reason}",
            hint="The file may be cut off or mixed from two encodings. Save it as UTF-8 and try again.",
            code="undecodable_text",
        ) from exc


def _codec(declared: str | None) -> str | None:
    if not declared:
        return None
    try:
        codec = codecs.lookup(declared.strip())
    except (LookupError, ValueError):
        return None
    if not codec._is_text_encoding or codec.name.startswith(("utf-16", "utf-32", "utf-7", "idna", "punycode")):
        return None
    # As browsers do: what calls itself Latin-1 or ASCII is Windows-1252 wherever the two differ.
    return "cp1252" if codec.name in ("iso8859-1", "ascii") else codec.name


def _guess(content: bytes, flaw: UnicodeDecodeError) -> str | None:
    """An encoding for bytes that are not UTF-8, or None where a guess would more likely garble than read."""
    if len(re.findall(rb"[\xc3-\xf4][\x80-\xbf]+", content[: flaw.start])) >= 4:
        return None  # UTF-8 with a flaw: any one-byte encoding would "decode" it, and garble every accent
    sample = content[max(0, flaw.start - _SAMPLE_BYTES // 2) :][:_SAMPLE_BYTES]
    if _looks_western(sample):
        return "cp1252"
    from charset_normalizer import from_bytes

    wide = ["utf_7", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be"]
    best = from_bytes(sample[: sample.rfind(b"\n") + 1] or sample, cp_exclusion=wide).best()
    return best.encoding if best else None


def _looks_western(sample: bytes) -> bool:
    """True where the high bytes stand alone among ASCII and read as accents or typography in Windows-1252.

    Detectors by statistics are at their worst here, on short texts with a few accents, and this is by far the most
    common case. In two-byte and Cyrillic encodings high bytes come in runs; Central European and Turkish ones would
    read as signs inside words, or as letters that do not meet in one language.
    """
    high = re.findall(rb"[\x80-\xff]+", sample)
    alone = sum(len(run) == 1 for run in high)
    letters = sum(chr(b).isalpha() for b in sample if b < 128)
    if alone * 10 < len(high) * 8 or len(high) * 5 > letters * 2:
        return False
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    if re.search(r"[^\W\d_][¹³¿¾¼£¥ª¯±¶¢¦º][^\W\d_]|[šžŠŽ]", text):
        return False
    return not (re.search("[ðþý]", text) and re.search("[çü]", text))
