"""The one function that fetches a URL, guarded: every hop is resolved, checked and pinned before it is asked.

Loopback, private, link-local, metadata and other special addresses are refused (SSRF). The connection goes to the
address that was checked, so a name that changes between check and use gains nothing. What comes is bounded in bytes,
also after it is unpacked, and in time, also where a server trickles its headers.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import httpx

from kernel.errors import FileRefused

MAX_HOPS, MAX_SECONDS = 5, 300
MAX_RATIO, RATIO_FROM = 200, 10 * 2**20
"""A packed answer may be this many times its size when unpacked, looked at above so many bytes."""
_UNICAST = ipaddress.IPv6Network("2000::/3")
_WRAPPING = tuple(ipaddress.IPv6Network(network) for network in ("::/96", "64:ff9b::/96"))
"""Networks whose last 32 bits are an IPv4 address: compatible addresses and NAT64."""
_ISATAP = (0x00005EFE, 0x02005EFE)
"""The third 32 bits of an address whose last 32 are an IPv4 one (RFC 5214, section 6.1)."""
_SPECIAL = tuple(
    ipaddress.ip_network(network)
    for network in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "3fff::/20")
)
"""Special all the same: Azure's metadata at an address of the open internet, and what older Pythons take for global."""
_WEB_PORTS = (80, 443)
_SUFFIX = {"text/html": ".html", "text/markdown": ".md", "text/plain": ".txt", "application/pdf": ".pdf"}
_GONE, _UNCHANGED = (404, 410), 304


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a server said about a URL. `content` is empty unless `status` is fetched."""

    name: str
    """Of the document: host and path, with a suffix that tells what the server calls it."""
    url: str
    content: bytes
    etag: str | None = None
    modified: str | None = None
    """`Last-Modified` as it came, to be sent back as it is."""
    status: Literal["fetched", "unchanged", "gone"] = "fetched"


def fetch(
    url: str, max_bytes: int, *, etag: str | None = None, modified: str | None = None, timeout: float = 30
) -> Fetched:
    """A page or file of at most `max_bytes`, after at most five redirects and five minutes.

    With `etag` or `modified`, as an earlier answer had them, the question is conditional: then the page may also be
    unchanged, or gone. Empty strings ask conditionally about a page whose server gave neither.

    Raises:
        FileRefused: an address that is not public, an HTTP error, too large, too slow.
    """
    conditional = etag is not None or modified is not None
    asked = url
    with _Clock(MAX_SECONDS) as clock:
        for _ in range(MAX_HOPS + 1):
            with _answer(url, asked, _headers(etag, modified), timeout, clock) as response:
                if response.has_redirect_location:
                    asked = _onward(url, asked, response.headers["location"])
                    continue
                if conditional and response.status_code == _UNCHANGED:
                    return Fetched(
                        name=_name(asked, ""), url=url, content=b"", etag=etag, modified=modified, status="unchanged"
                    )
                if conditional and response.status_code in _GONE:
                    return Fetched(name=_name(asked, ""), url=url, content=b"", status="gone")
                if response.status_code != 200:
                    raise _refusal(url, f"the server answered {response.status_code}", "check the address in a browser")
                content = _body(url, response, max_bytes, clock)
                kind = response.headers.get("content-type", "").split(";")[0].strip()
                return Fetched(
                    name=_name(asked, kind),
                    url=url,
                    content=content,
                    etag=_token(response.headers.get("etag")),
                    modified=_token(response.headers.get("last-modified")),
                )
        raise _refusal(url, f"it redirects more than {MAX_HOPS} times", "give the final address")


def check_address(url: str) -> None:
    """Say at once what is wrong with an address, without asking anybody.

    Raises:
        FileRefused: it could never be fetched.
    """
    _ascii(_parts(url)[0])


def unpacked(parts: Iterable[bytes], max_bytes: int, wbits: int = 47) -> Iterator[bytes]:
    """The bytes of a gzip or zlib stream, never more than `max_bytes` and one, however small it is packed.

    Raises:
        OverflowError: it is larger, or unpacks to more than `MAX_RATIO` times its size.
        zlib.error: it is no such stream, or ends too early.
    """
    machine, came, made = zlib.decompressobj(wbits), 0, 0
    for part in parts:
        came += len(part)
        while part:
            piece = machine.decompress(part, min(2**20, max_bytes - made + 1))
            made += len(piece)
            if made > max_bytes or (made > RATIO_FROM and made > MAX_RATIO * came):
                raise OverflowError
            yield piece
            part = machine.unconsumed_tail
            if machine.eof:  # gzip allows several streams, one behind the other
                part = machine.unused_data if machine.unused_data[:2] == b"\x1f\x8b" else b""
                if part:
                    machine = zlib.decompressobj(wbits)
    if came and not machine.eof:
        raise zlib.error("it ends too early")


# --- asking --------------------------------------------------------------------------------------


@contextmanager
def _answer(url: str, asked: str, headers: dict[str, str], timeout: float, clock: _Clock) -> Iterator[httpx.Response]:
    """One hop: the response of the first address of the host that takes a connection, its body still to be read."""
    parts, port, addresses = _resolve(asked)
    named = _ascii(parts)
    bracketed = f"[{named}]" if ":" in named else named
    headers = headers | {"Host": bracketed if parts.port is None else f"{bracketed}:{parts.port}"}
    for i, address in enumerate(addresses):
        literal = f"[{address}]" if ":" in address else address
        pinned = parts._replace(netloc=f"{literal}:{port}", fragment="").geturl()
        extensions: dict[str, Any] = {"sni_hostname": named, "trace": clock.trace}
        try:
            with (
                httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False) as client,
                client.stream("GET", pinned, headers=headers, extensions=extensions) as response,
            ):
                yield response
                return
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if i + 1 < len(addresses) and not clock.over:
                continue
            raise _silence(url, address, clock, error) from error
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise _silence(url, address, clock, error) from error


def _headers(etag: str | None, modified: str | None) -> dict[str, str]:
    """Only gzip is asked for: it is what we can unpack within bounds."""
    headers = {"User-Agent": "reprise/0.1 (+document ingestion)", "Accept-Encoding": "gzip"}
    if _token(etag):
        headers["If-None-Match"] = str(etag)
    if _token(modified):
        headers["If-Modified-Since"] = str(modified)
    return headers


def _token(value: str | None) -> str | None:
    """A header's value that may be kept and sent back: printable ASCII, not long."""
    return value if value and len(value) <= 500 and value.isascii() and value.isprintable() else None


def _body(url: str, response: httpx.Response, max_bytes: int, clock: _Clock) -> bytes:
    """The body, unpacked here: the client's own decoders know no bounds."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    told = response.headers.get("content-length", "")
    if told.isdecimal() and int(told) > max_bytes:
        raise _too_large(url, max_bytes)
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise _refusal(
            url, f"the server packs it as {encoding!r}, which was not asked for", "download it and ingest the file"
        )
    raw = _within(url, response.iter_raw(), clock)
    content = bytearray()
    try:
        for part in raw if encoding in ("", "identity") else unpacked(raw, max_bytes):
            content += part
            if len(content) > max_bytes:
                raise _too_large(url, max_bytes)
    except OverflowError:
        if len(content) < max_bytes - 2**20:
            raise _refusal(
                url,
                f"it unpacks to more than {MAX_RATIO} times its size",
                "download it yourself and ingest the file",
                code="too_large",
            ) from None
        raise _too_large(url, max_bytes) from None
    except zlib.error as error:
        raise _refusal(url, f"what the server packed is damaged: {error}", "try again later") from error
    return bytes(content)


def _within(url: str, parts: Iterable[bytes], clock: _Clock) -> Iterator[bytes]:
    for part in parts:
        if clock.over:  # one that trickles never runs into a timeout
            raise _too_slow(url)
        yield part


class _Clock:
    """Ends a connection when its time is up. A timeout of the client's is for one read, and a server may send one byte
    of its headers for each of them."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> _Clock:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    @property
    def over(self) -> bool:
        return time.monotonic() > self._deadline

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """httpcore tells here of each connection it makes, before it says a word on it."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            found = info["return_value"].get_extra_info("socket")
            if found is not None:
                self._sockets.append(found)
                if self.over:  # the timer has come and gone
                    self._cut()

    def _cut(self) -> None:
        for each in self._sockets:
            with suppress(OSError, ValueError):
                each.shutdown(socket.SHUT_RDWR)  # wakes a read that waits; a close would not


# --- where a name leads --------------------------------------------------------------------------


def _resolve(url: str) -> tuple[SplitResult, int, list[str]]:
    """(parts, port, checked addresses in the resolver's order, at most three)."""
    parts, port = _parts(url)
    host = _ascii(parts)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # ValueError: a name that cannot be one, such as a label of 80 letters
        raise _refusal(url, f"the host {host!r} is not known: {error}", "check the address") from error
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    for address in addresses:
        if not _public(ipaddress.ip_address(address.split("%")[0])):
            raise _refusal(
                url,
                f"{host!r} is at {address}, which is not a public address",
                "download the page yourself and ingest the file",
                code="private_address",
            )
    if not addresses:
        raise _refusal(url, f"the host {host!r} has no address", "check the address")
    return parts, port, addresses[:3]


def _parts(url: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refusal(url, f"it is not an address: {error}", "give a full http(s) URL") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _refusal(url, "it is not an http or https address", "give a full http(s) URL")
    if parts.username is not None or parts.password is not None:  # it would be kept, shown and logged as the source
        raise _refusal(url, "it carries a name or a password", "download the page yourself and ingest the file")
    if port is not None and port < 1024 and port not in _WEB_PORTS:
        raise _refusal(url, f"port {port} is not one of the web", "give an address on port 80, 443 or above 1023")
    return parts, port or (443 if parts.scheme == "https" else 80)


def _ascii(parts: SplitResult) -> str:
    """The host as the resolver, the certificate and the `Host` header know it."""
    host = parts.hostname or ""
    try:
        return httpx.URL(scheme="http", host=host).raw_host.decode() if not host.isascii() else host
    except (httpx.InvalidURL, UnicodeError) as error:
        raise _refusal(parts.geturl(), f"{host!r} cannot be the name of a host", "check the address") from error


def _public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """True for an address of the open internet, also where an IPv6 address only wraps an IPv4 one."""
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour
        last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if wrapped is None and any(address in network for network in _WRAPPING):
            wrapped = last
        if wrapped is not None:
            return _public(wrapped)
        if address not in _UNICAST or ((int(address) >> 32) & 0xFFFFFFFF in _ISATAP and not _public(last)):
            return False
    special = address.is_multicast or address.is_reserved or any(address in network for network in _SPECIAL)
    return address.is_global and not special


def _onward(url: str, asked: str, location: str) -> str:
    try:
        return urljoin(asked, location)
    except ValueError as error:
        raise _refusal(url, f"it redirects to {location!r}: {error}", "give the final address") from error


def _name(url: str, kind: str) -> str:
    parts = urlsplit(url)
    path = "/".join(part for part in unquote(parts.path).split("/") if part)
    name = f"{parts.hostname}/{path}" if path else str(parts.hostname)
    suffix = PurePosixPath(name).suffix
    return name if suffix and path else name + _SUFFIX.get(kind, ".html")


# --- saying no -----------------------------------------------------------------------------------


def _silence(url: str, address: str, clock: _Clock, error: Exception) -> FileRefused:
    if clock.over:
        return _too_slow(url)
    return _refusal(url, f"{address} did not answer: {error}", "check the address and try again")


def _too_slow(url: str) -> FileRefused:
    return _refusal(url, f"it took longer than {MAX_SECONDS} s", "download it yourself and ingest the file")


def _too_large(url: str, max_bytes: int) -> FileRefused:
    why = f"it is larger than {max_bytes // 2**20} MiB"
    return _refusal(url, why, "raise REPRISE_MAX_UPLOAD_MB", code="too_large")


def _refusal(url: str, why: str, hint: str, code: str = "url_refused") -> FileRefused:
    return FileRefused(f"{without_password(url)!r} cannot be ingested: {why}", hint=hint, code=code)


def without_password(url: str) -> str:
    """The address without the name and password that some carry: for messages and lists."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if "@" in parts.netloc:
            return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return url
