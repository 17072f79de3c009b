r"""How the bytes of a text file become characters.

A byte order mark wins, then valid UTF-8, then what the file itself declares, then a guess that is said to be one.
Nothing is replaced or dropped on the way. It knows nothing of formats.
"""

from __future__ import annotations

import codecs
import re

from ingest.parse.refusal import empty
from kernel.errors import FileRefused

_BOMS: tuple[tuple[bytes, str], ...] = (  # longest first: the mark of UTF-16 opens the mark of UTF-32
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE_BYTES = 1 << 18
_NEVER_GUESSED = [  # told by their marks, or by `ideographs` better than by statistics
    *("utf_7", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be"),
    *("shift_jis", "shift_jis_2004", "shift_jisx0213", "cp932", "euc_jp", "euc_jis_2004", "euc_jisx0213"),
    *("gb2312", "gbk", "gb18030", "hz", "big5", "big5hkscs", "cp950", "euc_kr", "cp949", "johab"),
]
_XML_DECLARED = re.compile(rb"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})", re.IGNORECASE)


def decode(content: bytes, name: str, declared: str | None = None) -> str:
    r"""The characters of a text file, with every line end as `\n`.

    Args:
        declared: an encoding named inside the file, as HTML does.

    Raises:
        FileRefused: `undecodable_text`, `empty_file`, or `binary_content` where the characters hold a NUL.
    """
    return decode_noting(content, name, declared)[0]


def decode_noting(content: bytes, name: str, declared: str | None = None) -> tuple[str, tuple[str, ...]]:
    """As `decode`, and the notes for people: one that names the encoding where it was guessed."""
    text, guessed = _decode(content, name, declared)
    if not text.strip():
        raise empty(name)
    if "\0" in text:
        raise FileRefused(
            f"{name!r} has NUL characters, so it is not text",
            hint="Give a file that holds text, or one of a format that Reprise reads.",
            code="binary_content",
        )
    notes = (f"The file does not say how its characters are encoded; it was read as {guessed}.",) if guessed else ()
    return clean(text), notes


def clean(text: str) -> str:
    r"""`text` with line ends as `\n`, without NUL and without lone surrogates."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        # Two surrogates that make a pair are one character; what is left over stands for nothing.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return text


def wide(content: bytes) -> str | None:
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


def declared_in_xml(content: bytes) -> str | None:
    """The encoding that an XML declaration names."""
    match = _XML_DECLARED.match(content[:400])
    return match[1].decode("ascii", "ignore") if match else None


def _decode(content: bytes, name: str, declared: str | None) -> tuple[str, str | None]:
    for mark, marked in _BOMS:
        if content.startswith(mark):
            return _strict(content[len(mark) :], marked, name), None
    if encoding := wide(content):
        return _strict(content, encoding, name), None
    try:
        return content.decode("utf-8"), None
    except UnicodeDecodeError as exc:
        flaw = exc
    said, guessed = _codec(declared), _guess(content, flaw)
    for candidate in (said, guessed):
        if candidate:
            try:
                return content.decode(candidate), None if candidate == said else candidate
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
    # As browsers do: the small name stands for the large set that holds it.
    return {
        "iso8859-1": "cp1252",
        "ascii": "cp1252",
        "gb2312": "gb18030",
        "gbk": "gb18030",
        "shift_jis": "cp932",
        "euc_kr": "cp949",
        "big5": "big5hkscs",
    }.get(codec.name, codec.name)


def _guess(content: bytes, flaw: UnicodeDecodeError) -> str | None:
    """An encoding for bytes that are not UTF-8, or None where a guess would more likely garble than read."""
    if len(re.findall(rb"[\xc3-\xf4][\x80-\xbf]+", content[: flaw.start])) >= 4:
        return None  # UTF-8 with a flaw: any one-byte encoding would "decode" it, and garble every accent
    sample = content[max(0, flaw.start - _SAMPLE_BYTES // 2) :][:_SAMPLE_BYTES]
    if _looks_western(sample):
        return "cp1252"
    from charset_normalizer import from_bytes

    from ingest.parse.ideographs import likely_encoding

    if east_asian := likely_encoding(content[: len(sample)] if flaw.start < len(sample) else sample):
        return east_asian
    best = from_bytes(sample[: sample.rfind(b"\n") + 1] or sample, cp_exclusion=_NEVER_GUESSED).best()
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
