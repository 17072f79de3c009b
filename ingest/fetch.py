"""The one function that fetches a URL, guarded: every hop is resolved, checked and pinned before it is asked.

Loopback, private, link-local, metadata and other special addresses are refused (SSRF). The connection goes to the
address that was checked, so a name that changes between check and use gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

import httpx

from kernel.errors import FileRefused

MAX_HOPS, MAX_SECONDS = 5, 300
_WRAPPING = tuple(ipaddress.IPv6Network(network) for network in ("::/96", "64:ff9b::/96"))
"""Networks whose last 32 bits are an IPv4 address: compatible addresses and NAT64."""
_SUFFIX = {"text/html": ".html", "text/markdown": ".md", "text/plain": ".txt", "application/pdf": ".pdf"}


def fetch(url: str, max_bytes: int, timeout: float = 30) -> tuple[str, str, bytes]:
    """(name, URL, content) of a page or file. At most `max_bytes`, five redirects and five minutes.

    Raises:
        FileRefused: an address that is not public, an HTTP error, too large, too slow.
    """
    asked, deadline = url, time.monotonic() + MAX_SECONDS
    for _ in range(MAX_HOPS):
        address, request_url, host = _pin(asked)
        with httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False) as client:
            headers = {"Host": host, "User-Agent": "reprise/0.1 (+document ingestion)"}
            extensions = {"sni_hostname": urlsplit(asked).hostname}
            try:
                with client.stream("GET", request_url, headers=headers, extensions=extensions) as response:
                    if response.has_redirect_location:
                        asked = _onward(url, asked, response.headers["location"])
                        continue
                    if response.status_code != 200:
                        raise _refusal(
                            url,
                            f"the server answered {response.status_code}",
                            "check the address in a browser",
                        )
                    content = bytearray()
                    for part in response.iter_bytes():
                        content += part
                        if len(content) > max_bytes:
                            raise _refusal(
                                url,
                                f"it is larger than {max_bytes // 2**20} MiB",
                                "raise REPRISE_MAX_UPLOAD_MB",
                                code="too_large",
                            )
                        if time.monotonic() > deadline:  # one that trickles never runs into a timeout
                            raise _refusal(
                                url, f"it took longer than {MAX_SECONDS} s", "download it yourself and ingest the file"
                            )
                    kind = response.headers.get("content-type", "").split(";")[0].strip()
                    return _name(asked, kind), url, bytes(content)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _refusal(url, f"{address} did not answer: {error}", "check the address and try again") from error
    raise _refusal(url, f"it redirects more than {MAX_HOPS} times", "give the final address")


def _pin(url: str) -> tuple[str, str, str]:
    """(checked address, URL with that address for a host, Host header)."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise _refusal(url, f"it is not an address: {error}", "give a full http(s) URL") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _refusal(url, "it is not an http or https address", "give a full http(s) URL")
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # ValueError: a name that cannot be one, such as a label of 80 letters
        raise _refusal(url, f"the host {parts.hostname!r} is not known: {error}", "check the address") from error
    addresses = {str(info[4][0]) for info in found}
    for address in addresses:
        if not _public(ipaddress.ip_address(address.split("%")[0])):
            raise _refusal(
                url,
                f"{parts.hostname!r} is at {address}, which is not a public address",
                "download the page yourself and ingest the file",
                code="private_address",
            )
    address = sorted(addresses)[0]
    literal = f"[{address}]" if ":" in address else address
    named = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    host = named if parts.port is None else f"{named}:{parts.port}"
    pinned = parts._replace(netloc=f"{literal}:{port}", fragment="")
    return address, pinned.geturl(), host


def _public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """True for an address of the open internet, also where an IPv6 address only wraps an IPv4 one."""
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour
        if wrapped is None and any(address in network for network in _WRAPPING):
            wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if wrapped is not None:
            return _public(wrapped)
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


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


def _refusal(url: str, why: str, hint: str, code: str = "url_refused") -> FileRefused:
    return FileRefused(f"{url!r} cannot be ingested: {why}", hint=hint, code=code)
