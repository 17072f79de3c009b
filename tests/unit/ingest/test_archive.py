"""An archive is a folder: what is good in it is read, what is bad is named, and nothing in it can do harm."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import stat
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import pytest

from ingest import archive, packed
from ingest.incoming import Incoming
from ingest.parse.limits import DEFAULT, Limits
from kernel.errors import RepriseError

GOOD = b"# Good\n\nThis page is as good as any other.\n"
SMALL = Limits(max_upload_mb=1, max_members=20, max_nesting=2)


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return out.getvalue()


def tarred(members: Mapping[str, bytes | tuple[bytes, str]], how: str = "w") -> bytes:
    """A TAR; a pair is (type of the member, where it links to)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=how) as made:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                info.type, info.linkname = content
                made.addfile(info)
            else:
                info.size = len(content)
                made.addfile(info, io.BytesIO(content))
    return out.getvalue()


def incoming(content: bytes, name: str = "a.zip") -> Incoming:
    return Incoming(path=name, name=name, source=f"upload:{name}", workspace="w", content=content, at=7)


def opened(content: bytes, name: str = "a.zip", limits: Limits = DEFAULT) -> tuple[dict[str, bytes], dict[str, str]]:
    """(content of each file by name, code of each refusal by place)"""
    refused: list[tuple[str, RepriseError]] = []
    files = {file.name: file.content for file in archive.expand(incoming(content, name), limits, refused)}
    for place, error in refused:
        assert place.startswith(f"upload:{name}")
        assert error.hint
    return files, {place.removeprefix(f"upload:{name}"): error.code for place, error in refused}


MAKERS: dict[str, Any] = {
    "a.zip": zipped,
    "a.tar": tarred,
    "a.tar.gz": lambda members: tarred(members, "w:gz"),
    "a.tar.bz2": lambda members: tarred(members, "w:bz2"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_the_files_of_an_archive_come_with_their_paths(name: str) -> None:
    made = MAKERS[name]({"b/two.md": GOOD * 2, "one.md": GOOD})
    for known in (name, "upload", "upload.bin"):  # the bytes decide, whatever it is called
        files = list(archive.expand(incoming(made, known), DEFAULT, []))
        assert [(f.name, f.content) for f in files] == [("b/two.md", GOOD * 2), ("one.md", GOOD)]
        assert [f.source for f in files] == [f"upload:{known}!b/two.md", f"upload:{known}!one.md"]
        assert {(f.workspace, f.at, f.explicit) for f in files} == {("w", 7, False)}


def test_what_is_no_archive_stays_as_it_is() -> None:
    office = zipped({"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<w/>"})
    book = zipped({"mimetype": b"application/epub+zip", "META-INF/container.xml": b""}, zipfile.ZIP_STORED)
    for content, name in (
        (GOOD, "a.md"),
        (b"", "a.md"),
        (office, "a.docx"),
        (office, "unnamed"),
        (book, "book"),
        (b"PK\x03\x04 and no more", "a.docx"),
        (gzip.compress(GOOD), "a.md.gz"),
        (b"BZh and more text", "a.txt"),
    ):
        given = incoming(content, name)
        assert list(archive.expand(given, DEFAULT, [])) == [given]


@pytest.mark.parametrize("name", MAKERS)
def test_a_bad_name_costs_its_own_file_alone(name: str) -> None:
    bad = ["../up.md", "a/../../up.md", "/etc/passwd.md", "a\\b.md", "C:/x.md", "a//b.md", "x" * 600]
    hidden = {".git/config": GOOD, "__MACOSX/._good.md": GOOD, "node_modules/a.md": GOOD}
    members = dict.fromkeys(bad, GOOD) | {"good.md": GOOD} | hidden
    assert opened(MAKERS[name](members), name) == ({"good.md": GOOD}, {f"!{path}": "bad_name" for path in bad})


def test_a_name_that_hides_its_end_behind_a_nul_is_refused() -> None:
    made = zipped({"good.md.exe": GOOD, "other.md": GOOD}).replace(b"good.md.exe", b"good.md\0exe")
    files, refused = opened(made)
    assert files == {"other.md": GOOD}
    assert list(refused.values()) == ["bad_name"]


def test_links_and_devices_are_refused_and_the_files_are_read() -> None:
    kinds = {"soft.md": (tarfile.SYMTYPE, "/etc/passwd"), "hard.md": (tarfile.LNKTYPE, "good.md")}
    kinds |= {"device.md": (tarfile.CHRTYPE, ""), "pipe.md": (tarfile.FIFOTYPE, "")}
    expected = {f"!{name}": "not_a_file" for name in kinds}
    assert opened(tarred({"good.md": GOOD, **kinds}), "a.tar") == ({"good.md": GOOD}, expected)

    link = zipfile.ZipInfo("soft.md")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr(link, "/etc/passwd")
        made.writestr("good.md", GOOD)
    assert opened(out.getvalue()) == ({"good.md": GOOD}, {"!soft.md": "not_a_file"})


@pytest.mark.parametrize("name", MAKERS)
def test_a_file_that_is_too_large_is_refused_without_the_others(name: str) -> None:
    made = MAKERS[name]({"big.txt": os.urandom(1 << 20) + b"x", "good.md": GOOD})
    refused: list[tuple[str, RepriseError]] = []
    found = archive.members(io.BytesIO(made), name=name, source="s", limits=SMALL, refused=refused)
    assert [path for path, _, _ in found] == ["good.md"]
    assert [(place, error.code) for place, error in refused] == [("s!big.txt", "too_large")]


def test_archives_within_archives_are_folders_down_to_a_depth() -> None:
    made = zipped({"deep.md": GOOD})
    for depth in (3, 2, 1):
        made = (
            zipped({f"{depth}.zip": made, f"beside{depth}.md": GOOD})
            if depth % 2
            else tarred({f"{depth}.zip": made, f"beside{depth}.md": GOOD}, "w:gz")
        )
    files, refused = opened(made, limits=SMALL)
    assert set(files) == {"beside1.md", "1.zip/beside2.md", "1.zip/2.zip/beside3.md"}
    assert refused == {"!1.zip!2.zip!3.zip": "limit_max_nesting"}
    assert set(opened(made)[0]) == {*files, "1.zip/2.zip/3.zip/deep.md"}


def test_a_bad_archive_in_an_archive_costs_itself_alone() -> None:
    whole = zipped({"a.md": GOOD})
    made = zipped({"cut.zip": whole[:-30], "good.md": GOOD, "no.tar": b"text", "z.docx": b"PK\x03\x04 what is left"})
    files, refused = opened(made)
    assert set(files) == {"good.md", "z.docx"}
    assert refused == {"!cut.zip": "broken_archive", "!no.tar": "broken_archive"}


# --- damage --------------------------------------------------------------------------------------


def patched(content: bytes, where: bytes, offset: int, value: bytes) -> bytes:
    """`content` with bytes changed behind every occurrence of a signature."""
    out, at = bytearray(content), content.find(where)
    while at >= 0:
        out[at + offset : at + offset + len(value)] = value
        at = content.find(where, at + 1)
    return bytes(out)


def test_a_damaged_file_of_a_zip_costs_itself_alone() -> None:
    noise = os.urandom(3000)
    whole = zipped({"a.md": noise, "good.md": GOOD})
    at = whole.index(noise[:50])
    scrambled = whole[: at + 100] + bytes(100) + whole[at + 200 :]
    assert opened(scrambled) == ({"good.md": GOOD}, {"!a.md": "broken_archive"})
    one = zipped({"a.md": noise})
    lying = patched(one, b"PK\x01\x02", 24, (10).to_bytes(4, "little"))  # it says 10 bytes, and holds 3,000
    locked = patched(patched(one, b"PK\x01\x02", 8, b"\x01\x00"), b"PK\x03\x04", 6, b"\x01\x00")
    unknown = patched(patched(one, b"PK\x01\x02", 10, b"\x63\x00"), b"PK\x03\x04", 8, b"\x63\x00")
    for bad in (lying, locked, unknown):
        assert opened(bad) == ({}, {"!a.md": "broken_archive"})


def test_a_tar_gives_what_stands_before_its_damage_or_nothing() -> None:
    whole = tarred({"a.md": GOOD, "b.md": os.urandom(3000), "c.md": GOOD}, "w:gz")
    plain = tarred({"a.md": GOOD, "b.md": os.urandom(3000)})
    cases = {"cut.tgz": whole[:-1500], "bits.tgz": whole[:300] + bytes(900) + whole[1200:], "cut.tar": plain[:2000]}
    for name, content in cases.items():
        files, refused = opened(content, name)
        assert set(files) <= {"a.md"}
        assert refused == {"": "broken_archive"}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 2000, b"PK\x05\x06" + bytes(10), b"\x1f\x8b and so on"])
def test_what_is_only_named_as_an_archive_is_refused(name: str, content: bytes) -> None:
    assert opened(content, name) == ({}, {"": "broken_archive"})


# --- bombs ---------------------------------------------------------------------------------------


def memory_of(content: bytes, name: str = "a.zip", limits: Limits = DEFAULT) -> tuple[dict[str, str], int]:
    """Codes of what was refused, and the most memory it took, in bytes."""
    tracemalloc.start()
    try:
        files, refused = opened(content, name, limits)
        return refused | dict.fromkeys(files, "read"), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def zeros(mib: int) -> tuple[int, int, bytes]:
    """(CRC, size, deflated) of a run of zeros, made piece by piece."""
    press, out, crc, piece = zlib.compressobj(9, zlib.DEFLATED, -15), b"", 0, bytes(2**20)
    for _ in range(mib):
        out += press.compress(piece)
        crc = zlib.crc32(piece, crc)
    return crc, mib << 20, out + press.flush()


def directory(entries: list[tuple[bytes, int, int, int, int]], body: bytes) -> bytes:
    """A ZIP by hand: (name, offset, CRC, packed, unpacked) of each entry, over a body that is taken as it is."""
    listed = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, crc, packed_, size, len(name), 0, 0, 0, 0, 0, at)
        + name
        for name, at, crc, packed_, size in entries
    )
    end = struct.pack(
        "<4s4H2IH", b"PK\x05\x06", 0, 0, len(entries) % 65536, len(entries) % 65536, len(listed), len(body), 0
    )
    return body + listed + end


def local(name: bytes, crc: int, packed_: int, size: int) -> bytes:
    return struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0, crc, packed_, size, len(name), 0) + name


def test_a_file_that_unpacks_to_too_much_is_refused_without_the_others() -> None:
    crc, size, content = zeros(100)
    body = local(b"bomb.txt", crc, len(content), size) + content
    good = zlib.compress(GOOD)[2:-4]
    second = local(b"good.md", zlib.crc32(GOOD), len(good), len(GOOD)) + good
    made = directory(
        [(b"bomb.txt", 0, crc, len(content), size), (b"good.md", len(body), zlib.crc32(GOOD), len(good), len(GOOD))],
        body + second,
    )
    codes, memory = memory_of(made)
    assert codes == {"!bomb.txt": "limit_max_ratio", "good.md": "read"}
    assert memory < 20 * 2**20


def test_many_files_that_are_too_much_together_are_refused() -> None:
    crc, size, content = zeros(40)
    body, entries = b"", []
    for number in range(10):
        name = b"%d.txt" % number
        entries.append((name, len(body), crc, len(content), size))
        body += local(name, crc, len(content), size) + content
    codes, memory = memory_of(directory(entries, body))
    assert codes == {"": "limit_max_ratio"}
    assert memory < 20 * 2**20


def test_files_that_share_their_bytes_are_refused() -> None:
    """Fifield: each entry quotes the ones behind it, so that ten kilobytes unpack to petabytes."""
    crc, size, content = zeros(1)
    body = local(b"a", crc, len(content), size) + content
    made = directory([(b"%d" % n, 0, crc, len(content), size) for n in range(30)], body)
    assert opened(made) == ({}, {"": "broken_archive"})


def test_a_size_that_lies_unpacks_to_no_more_than_it_says() -> None:
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        made = zipped({"a.txt": bytes(30 * 2**20)}, method)
        lying = patched(made, b"PK\x01\x02", 24, (1000).to_bytes(4, "little"))
        codes, memory = memory_of(lying)
        assert codes == {"!a.txt": "broken_archive"}
        assert memory < 100 * 2**20


def test_a_directory_of_millions_is_counted_before_it_is_read() -> None:
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, *[0] * 14)
    listed = entry * 1_000_000  # 46 MB
    made = b"PK\x03\x04" + listed + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 65535, 65535, len(listed), 4, 0)
    codes, memory = memory_of(made)
    assert codes == {"": "limit_max_members"}
    assert memory < 3 * len(made)
    many = {f"{i}.md": GOOD for i in range(21)}
    for name, make in MAKERS.items():
        assert opened(make(many), name, SMALL) == ({}, {"": "limit_max_members"})


def test_archives_within_archives_share_one_budget() -> None:
    """As 42.zip does it: sixteen archives in each of sixteen archives."""
    inner = zipped({f"{i}.md": GOOD for i in range(8)})
    made = zipped({f"{i}.zip": inner for i in range(4)})
    files, refused = opened(made, limits=SMALL)
    assert len(files) == 16  # 4 files, and twice 8: a third would be 28
    assert refused == {"!2.zip": "limit_max_members", "!3.zip": "limit_max_members"}


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_packed_tar_is_unpacked_only_as_far_as_it_may(pack: Any) -> None:
    made = pack(tarred({"zeros.txt": bytes(80 * 2**20), "good.md": GOOD}))
    codes, memory = memory_of(made, "a.tar.gz", Limits(max_upload_mb=60))
    assert codes == {"": "limit_max_ratio"}
    assert memory < 20 * 2**20


def header(name: bytes, kind: bytes, size: bytes) -> bytes:
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108], block[108:116], block[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    block[124:136], block[136:148], block[156:157] = size, b"00000000000\0", kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_that_is_as_large_as_a_bomb_is_not_read(kind: bytes) -> None:
    made = gzip.compress(header(b"long", kind, b"%011o\0" % (40 * 2**20)) + bytes(40 * 2**20), 1)
    codes, memory = memory_of(made, "a.tgz")
    assert codes == {"": "broken_archive"}
    assert memory < 10 * 2**20


def test_a_size_below_zero_does_not_go_round_for_ever() -> None:
    back = b"\xff" * 10 + b"\xfc\x00"  # -1024, in the binary form
    for kind in (b"0", b"x", b"L"):
        made = header(b"a", kind, back) + header(b"b", b"0", b"%011o\0" % 0) + bytes(1024)
        files, refused = opened(made, "a.tar")
        assert set(files) <= {"a", "b"}
        assert not refused or refused == {"": "broken_archive"}


def test_a_huge_file_with_holes_is_refused_by_its_size() -> None:
    """A GNU sparse file: half a kilobyte in the archive, eight terabytes on a disk."""
    sparse = bytearray(header(b"sparse.txt", b"S", b"%011o\0" % 512))
    sparse[257:265] = b"ustar  \0"
    sparse[386:398], sparse[398:410] = b"%011o\0" % 0, b"%011o\0" % 512
    sparse[483:495] = b"\x80" + (8 * 2**40).to_bytes(11, "big")
    sparse[148:156] = b" " * 8
    sparse[148:156] = b"%06o\0 " % sum(sparse)
    good = header(b"good.md", b"0", b"%011o\0" % len(GOOD)) + GOOD.ljust(512, b"\0")
    codes, memory = memory_of(bytes(sparse) + bytes(512) + good + bytes(1024), "a.tar")
    assert codes == {"!sparse.txt": "too_large", "good.md": "read"}
    assert memory < 10 * 2**20


def test_a_map_of_holes_without_end_is_given_up() -> None:
    sparse = bytearray(header(b"sparse.txt", b"S", b"%011o\0" % 0))
    sparse[482] = 1  # more of the map follows
    sparse[148:156] = b" " * 8
    sparse[148:156] = b"%06o\0 " % sum(sparse)
    more = bytearray(b"%011o\0" % 1 * 42).ljust(512, b"\0")
    more[504] = 1
    codes, memory = memory_of(bytes(sparse) + bytes(more) * 40_000, "a.tar")
    assert codes == {"": "broken_archive"}
    assert memory < 80 * 2**20


def test_the_limits_are_named_with_what_was_found() -> None:
    refused: list[tuple[str, RepriseError]] = []
    list(archive.expand(incoming(zipped({f"{i}.md": GOOD for i in range(21)})), SMALL, refused))
    ((_, error),) = refused
    assert "21 files" in error.message
    assert "REPRISE_MAX_MEMBERS" in error.hint
    assert DEFAULT.max_upload_mb * 2**20 <= packed.MAX_BYTES
