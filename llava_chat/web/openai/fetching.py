"""Pictures from addresses, for hosts that the settings list and for no others.

Whoever can have a server fetch an address can have it look where they cannot (server-side request
forgery): so only listed hosts are asked, by exact name; the name is looked up once, every address
that it has must be public, and the connection goes to the address that was checked, not to the
name again, which may point elsewhere by then (DNS rebinding). Nothing is redirected, no proxy is
asked, and size and time are bounded. Imports errors and the settings' name of a flag.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx2

from llava_chat.errors import PictureError, SettingError
from llava_chat.settings import flag
from llava_chat.web.openai.errors import CallError

FETCH_S = 10.0
_ADDRESS_CHARS = 2048
_PORTS = {"http": 80, "https": 443}
# An IPv4 address inside an IPv6 one, as gateways translate it (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")

Resolve = Callable[[str, int], Awaitable[list[str]]]
IsAllowed = Callable[[str], bool]


async def addresses_of(host: str, port: int) -> list[str]:
    """The IP addresses of a host, as the system knows them. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open Internet.

    >>> [is_public(each) for each in ("93.184.215.14", "10.0.0.1", "127.0.0.1", "169.254.169.254")]
    [True, False, False, False]
    >>> [is_public(each) for each in ("2606:2800::1", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1")]
    [True, False, False, False]
    """
    try:
        ip = _inner(ip_address(address))
    except ValueError:
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


class PictureFetcher:
    """Fetches pictures. hosts: `name` for the usual ports, or `name:port`.

    max_bytes: of a file. resolve, is_allowed: how a name is looked up, and which addresses may be
    connected to. Raises SettingError for what is no host.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        max_bytes: int,
        *,
        resolve: Resolve = addresses_of,
        is_allowed: IsAllowed = is_public,
    ) -> None:
        named = [_named(host) for host in hosts]
        usual = {(url.raw_host, port) for url in named if url.port is None for port in (80, 443)}
        self._hosts = usual | {(url.raw_host, url.port) for url in named if url.port is not None}
        self._max_bytes = max_bytes
        self._resolve = resolve
        self._is_allowed = is_allowed

    async def fetch(self, address: str) -> bytes:
        """The file at an address. Raises PictureError, and CallError for one that is too large."""
        url = self._listed(address)
        try:
            async with asyncio.timeout(FETCH_S):
                return await self._fetched(url)
        except TimeoutError:
            raise PictureError(f"{url.host} took longer than {FETCH_S:g} s; try again.") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
            raise PictureError(f"{url.host} gave no picture; send it as a data URL.") from None

    def _listed(self, address: str) -> httpx2.URL:
        try:
            url = httpx2.URL(address) if len(address) <= _ADDRESS_CHARS else httpx2.URL("")
        except httpx2.InvalidURL:
            url = httpx2.URL("")
        if url.scheme not in _PORTS or not url.host:
            raise PictureError("A picture is a data URL, or an http or https address.")
        if url.userinfo:
            raise PictureError("An address with a name or password in it is not fetched.")
        if (url.raw_host, url.port or _PORTS[url.scheme]) not in self._hosts:
            raise PictureError(
                "Pictures are not fetched from this address: send the picture as a data URL, or "
                f"have the server started with {flag('picture_hosts')}."
            )
        return url

    async def _fetched(self, url: httpx2.URL) -> bytes:
        port = url.port or _PORTS[url.scheme]
        found = list(dict.fromkeys(await self._resolve(url.host, port)))
        if not found or not all(self._is_allowed(each) for each in found):
            raise PictureError("Pictures are not fetched from this host's address.")
        # No environment: a proxy would look the name up again.
        async with httpx2.AsyncClient(trust_env=False, timeout=FETCH_S) as client:
            for place, address in enumerate(found, start=1):
                try:
                    return await self._downloaded(client, url, address)
                except httpx2.ConnectError:
                    if place == len(found):
                        raise
        raise AssertionError("a last address is downloaded from, or raises")

    async def _downloaded(self, client: httpx2.AsyncClient, url: httpx2.URL, address: str) -> bytes:
        """The body, from this IP address; the request and the certificate name the host."""
        request = client.build_request(
            "GET",
            url.copy_with(host=address),
            headers={"host": url.netloc.decode("ascii"), "accept-encoding": "identity"},
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            if response.status_code != 200:
                problem = f"{url.host} answered with {response.status_code}"
                raise PictureError(f"{problem}, and no redirect is followed.")
            return await self._body(response)
        finally:
            await response.aclose()

    async def _body(self, response: httpx2.Response) -> bytes:
        body = bytearray()
        async for piece in response.aiter_raw():  # packed, it might be a thousand times larger
            body += piece
            if len(body) > self._max_bytes:
                most = f"{self._max_bytes:,} bytes"
                raise CallError(f"The picture is over the limit of {most}.", status=413)
        return bytes(body)


def _named(host: str) -> httpx2.URL:
    try:
        url = httpx2.URL(f"http://{host}/")
    except httpx2.InvalidURL:
        url = httpx2.URL("")
    if not url.host or "*" in url.host or url.userinfo or url.raw_path != b"/":
        problem = f"must name hosts, like example.org or example.org:8443, not {host!r}"
        raise SettingError(flag("picture_hosts"), problem)
    return url


def _inner(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(ip, IPv4Address):
        return ip
    teredo = ip.teredo
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (teredo[1] if teredo else ip)
