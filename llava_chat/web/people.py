"""Whom limits count: a session, somebody who signed in, or who holds a key of the API.

A session's cookie can be thrown away and had anew, so what a session uses also counts against the
address that it comes from. Nothing keeps or logs an address: it becomes a hash whose key is this
server's alone. Imports web.session, web.signing_in and errors, and no gradio: a request is a
`gr.Request` or a Starlette one.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llava_chat.web.session import SessionError, Sessions
from llava_chat.web.signing_in import NoSignIn, SignIn

ACTIVE_S = 300.0  # how long somebody who sent a request counts as here
REMEMBERED_PEOPLE = 10_000  # of them: more are not told apart
KEY_DIGITS = 32  # of a key's hash: 128 bits, so that no two keys are ever the same person
# What one customer of a provider is given at least (RFC 6177): all of it is one person's.
IPV6_PREFIX_BITS = 64

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# RFC 1918, RFC 6598, RFC 4193 and loopback: where the proxies of a hosting platform are.
_PRIVATE: tuple[Network, ...] = tuple(
    map(
        ipaddress.ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "fc00::/7",
        ),
    )
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Person:
    """Whom limits count.

    id: nothing that another could guess or claim: "session:" and the owner's hash, "user:" and the
    name that was signed in with, "key:" and a part of the key's hash, or "address:" and the address
    below. address: keyed hash of where the request came from, "" where it does not matter, for
    those who signed in and those who hold a key.
    """

    id: str
    address: str = ""


class People:
    """Tells who sends a request, to one server.

    trusted_proxies: how many proxies of the host's own stand in front of it; None is as many as
    there are in private networks, as on a Space, whose host cannot know. api_keys: keys that
    callers of the API may send as `Authorization: Bearer`. sign_in: how people say who they are.
    """

    def __init__(
        self,
        sessions: Sessions,
        *,
        trusted_proxies: int | None = 0,
        api_keys: Sequence[str] = (),
        sign_in: SignIn | None = None,
    ) -> None:
        self._sessions = sessions
        self.sign_in = sign_in or NoSignIn()
        self._trusted_proxies = trusted_proxies
        self._api_keys = [key.encode() for key in api_keys]
        self._warned = False
        self._seen_s = OrderedDict[str, float]()
        self._lock = threading.Lock()

    def owner_of(self, request: Any) -> str:
        """To whom belongs what this request makes: a name, in every browser, else a session.

        Raises SessionError as `Sessions` does, and where nobody has signed in who has to.
        """
        if name := self.sign_in.name_of(request):
            return self._sessions.owner_of_name(self.sign_in.kind, name)
        if self.sign_in.wanted:
            raise SessionError("You are not signed in here any more. Reload the page to sign in.")
        return self._sessions.owner_of(request)

    def of_request(self, request: Any) -> Person:
        """By key, by sign-in, else by session. Raises SessionError where there is none of them."""
        if (holder := self.key_holder(request)) is not None:
            return holder
        if name := self.sign_in.name_of(request):
            return self._seen(Person(f"user:{name}"))
        return self._seen(Person(f"session:{self.owner_of(request)}", self._address(request)))

    def of_anyone(self, request: Any) -> Person:
        """As `of_request`; who has no session either is the address that they come from."""
        try:
            return self.of_request(request)
        except SessionError:
            return self.of_address(request)

    def active(self) -> int:
        """How many sent a request in the last ACTIVE_S seconds, REMEMBERED_PEOPLE at most."""
        with self._lock:
            self._forget()
            return len(self._seen_s)

    def key_holder(self, request: Any) -> Person | None:
        """Whose key of the API the request carries; None where it carries none that is known.

        It takes as long for any key: how much of one was right cannot be measured.
        """
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        key = given.strip().encode("utf-8", "surrogatepass")
        known = [hmac.compare_digest(key, one) for one in self._api_keys]
        if scheme.lower() != "bearer" or not any(known):
            return None
        return self._seen(Person(f"key:{hashlib.sha256(key).hexdigest()[:KEY_DIGITS]}"))

    def of_address(self, request: Any) -> Person:
        """Somebody who sends neither key nor cookie, where that is allowed."""
        address = self._address(request)
        return self._seen(Person(f"address:{address}", address))

    def _seen(self, person: Person) -> Person:
        with self._lock:
            self._seen_s[person.id] = time.monotonic()
            self._seen_s.move_to_end(person.id)
            self._forget()
        return person

    def _forget(self) -> None:
        oldest_s = time.monotonic() - ACTIVE_S
        while self._seen_s:
            id, seen_s = next(iter(self._seen_s.items()))
            if seen_s >= oldest_s and len(self._seen_s) <= REMEMBERED_PEOPLE:
                return
            del self._seen_s[id]

    def _address(self, request: Any) -> str:
        peer = "" if request.client is None else request.client.host
        chain = ",".join(request.headers.getlist("x-forwarded-for"))
        if chain and self._trusted_proxies == 0:
            self._warn_of_proxy(peer)
        return self._sessions.sign("address", sender(peer, chain, self._trusted_proxies))

    def _warn_of_proxy(self, peer: str) -> None:
        network = network_of(peer)
        if self._warned or network is None or not network.is_private:
            return
        self._warned = True
        _log.warning(
            "Requests come through a proxy, whose address everybody shares in the limits. Say with "
            "--trusted-proxies how many of your own stand in front of this server."
        )


def sender(peer: str, chain: str, trusted_proxies: int | None) -> str:
    """The network that a request comes from.

    peer: who holds the connection. chain: the X-Forwarded-For headers, joined by commas. Every
    proxy adds who called it at the right, so that what the last `trusted_proxies` entries say is
    the host's own word, and what is left of them is the client's. Without such an entry it is the
    peer. None trusts whoever calls from a private network.

    >>> sender("10.0.0.2", "6.6.6.6, 198.51.100.7", 1)
    '198.51.100.7/32'
    >>> sender("10.0.0.2", "6.6.6.6, 2001:db8::1, 10.0.0.1", 2)
    '2001:db8::/64'
    >>> sender("10.0.0.2", "6.6.6.6", 0), sender("10.0.0.2", "unknown", 1)
    ('10.0.0.2/32', '10.0.0.2/32')
    >>> sender("10.0.0.2", "6.6.6.6, 198.51.100.7, 10.0.0.1", None)
    '198.51.100.7/32'
    """
    hops = chain.split(",")
    if trusted_proxies is None:
        trusted_proxies = _private_hops([*hops, peer])
    named = None
    if 0 < trusted_proxies <= len(hops):
        named = network_of(hops[-trusted_proxies])
    return str(named or network_of(peer) or peer)


def _private_hops(chain: list[str]) -> int:
    """How many of the last entries of a chain are in private networks."""
    networks = [network_of(hop) for hop in reversed(chain)]
    return next((n for n, one in enumerate(networks) if one is None or not _inside(one)), 0)


def _inside(network: Network) -> bool:
    # Python calls what is for documentation private as well.
    return any(network.subnet_of(own) for own in _PRIVATE if own.version == network.version)  # type: ignore[arg-type]


def network_of(address: str) -> Network | None:
    """What one subscriber has: the address, or 64 bits of an IPv6 one; None for what is neither.

    A port may follow, as some proxies write it.

    >>> str(network_of("[2001:db8:0:1:2::3]:443")), str(network_of("::ffff:192.0.2.1"))
    ('2001:db8:0:1::/64', '192.0.2.1/32')
    >>> network_of("localhost; drop") is None
    True
    """
    text = address.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return ipaddress.IPv6Network((found, IPV6_PREFIX_BITS), strict=False)
        found = found.ipv4_mapped
    return ipaddress.IPv4Network(found)
