"""Limits count people: nobody takes another's place, and nobody is asked where they live."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from hypothesis import given, strategies as st
from starlette.requests import Request

from llava_chat.accounts import AccountFile
from llava_chat.web import people as module
from llava_chat.web.people import ACTIVE_S, People, Person, network_of, sender
from llava_chat.web.session import COOKIE_NAME, SessionError, Sessions
from llava_chat.web.signing_in import ByPassword

SESSIONS = Sessions(b"a key that only this test knows..")
COOKIE = SESSIONS.new_cookie()
KEY = "a key of the API"


def request(peer: str | None = "203.0.113.9", **headers: str | list[str]) -> Request:
    raw: list[tuple[bytes, bytes]] = []
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            raw.append((name.replace("_", "-").encode(), value.encode("latin-1")))
    client = None if peer is None else (peer, 5000)
    return Request({"type": "http", "method": "GET", "headers": raw, "client": client})


def visit(peer: str | None = "203.0.113.9", **headers: str | list[str]) -> Request:
    return request(peer, cookie=f"{COOKIE_NAME}={COOKIE}", **headers)


def test_a_session_is_its_owner_and_an_address_that_says_nothing() -> None:
    person = People(SESSIONS).of_request(visit())
    assert person.id == f"session:{SESSIONS.owner_of_cookie(COOKIE)}"
    assert person.address and "203.0.113" not in repr(person)
    elsewhere = People(Sessions(b"another key, of another server..")).of_address(request())
    assert elsewhere.address != person.address


def test_a_request_without_a_session_is_nobody() -> None:
    with pytest.raises(SessionError, match="no session cookie"):
        People(SESSIONS).of_request(request())


def test_who_signed_in_is_a_name_wherever_they_are(tmp_path: Path) -> None:
    accounts = AccountFile(tmp_path / "people.json")
    accounts.put("ada", "lead", "a long password")
    people = People(SESSIONS, sign_in=ByPassword(accounts))
    asked = [gr.Request(visit(peer), username="ada") for peer in ("192.0.2.1", "192.0.2.2")]
    assert {people.of_request(one) for one in asked} == {Person("user:ada")}
    assert len({people.owner_of(one) for one in asked}) == 1
    assert people.owner_of(asked[0]) != People(SESSIONS).owner_of(visit())
    accounts.remove("ada")
    with pytest.raises(SessionError, match="sign in"):
        people.owner_of(asked[0])


def test_without_a_sign_in_a_name_means_nothing() -> None:
    people = People(SESSIONS)
    named = gr.Request(visit(), username="ada")
    assert people.of_request(named) == people.of_request(visit())
    assert people.owner_of(named) == people.owner_of(visit())


def test_who_holds_a_key_is_that_key() -> None:
    people = People(SESSIONS, api_keys=("another key of it", KEY))
    holder = people.of_request(request(authorization=f"Bearer {KEY}"))
    assert holder.id.startswith("key:") and KEY not in holder.id and not holder.address
    assert people.of_request(visit(authorization=f"bearer {KEY}")) == holder
    other = people.of_request(request(authorization="Bearer another key of it"))
    assert other != holder


@pytest.mark.parametrize("value", ["Bearer", "Bearer wrong", f"Basic {KEY}", KEY, "Bearer \xe9"])
def test_a_key_that_is_not_known_is_no_key(value: str) -> None:
    people = People(SESSIONS, api_keys=(KEY,))
    assert people.key_holder(request(authorization=value)) is None
    assert people.of_request(visit(authorization=value)).id.startswith("session:")
    assert People(SESSIONS).key_holder(request(authorization="Bearer ")) is None


def address(trusted: int, peer: str | None, *chain: str) -> str:
    people = People(SESSIONS, trusted_proxies=trusted)
    return people.of_request(visit(peer, x_forwarded_for=list(chain))).address


def test_only_what_the_hosts_own_proxies_say_of_an_address_counts() -> None:
    direct = address(0, "203.0.113.9")
    assert address(0, "203.0.113.9", "198.51.100.1") == direct
    assert address(1, "10.0.0.2", "6.6.6.6, 203.0.113.9") == direct
    assert address(1, "10.0.0.2", "6.6.6.6", "203.0.113.9") == direct  # one header after another
    assert address(2, "10.0.0.2", "6.6.6.6, 203.0.113.9, 10.0.0.3") == direct


@pytest.mark.parametrize("chain", ["", "unknown", "6.6.6.6, _hidden", "6.6.6.6,", "a" * 5000])
def test_a_chain_that_says_nothing_leaves_the_peer(chain: str) -> None:
    assert address(1, "10.0.0.2", chain) == address(0, "10.0.0.2")
    assert address(3, "10.0.0.2", "6.6.6.6, 7.7.7.7") == address(0, "10.0.0.2")


@pytest.mark.parametrize(
    ("peer", "chain", "found"),
    [
        ("10.1.2.3", "203.0.113.9", "203.0.113.9/32"),
        ("10.1.2.3", "6.6.6.6, 203.0.113.9, 100.64.0.1, 172.16.5.5", "203.0.113.9/32"),
        ("10.1.2.3", "6.6.6.6, nobody", "10.1.2.3/32"),
        ("10.1.2.3", "", "10.1.2.3/32"),
        ("203.0.113.9", "6.6.6.6", "203.0.113.9/32"),
    ],
)
def test_on_a_space_its_own_proxies_are_trusted(peer: str, chain: str, found: str) -> None:
    assert sender(peer, chain, None) == found


def test_one_customers_ipv6_addresses_are_one() -> None:
    assert address(0, "2001:db8:0:1::7") == address(0, "2001:db8:0:1:ffff::1")
    assert address(0, "2001:db8:0:1::7") != address(0, "2001:db8:0:2::7")
    assert address(0, "::ffff:203.0.113.9") == address(0, "203.0.113.9")
    assert address(0, "fe80::1%eth0") == address(0, "fe80::2%eth1")
    assert address(0, None) == address(0, None)


@given(forged=st.text(st.characters(codec="latin-1"), max_size=60), trusted=st.integers(1, 4))
def test_whatever_a_client_writes_it_stays_where_it_is(forged: str, trusted: int) -> None:
    own_word = ", ".join(["203.0.113.9", *["10.0.0.1"] * (trusted - 1)])
    assert sender("10.0.0.2", f"{forged}, {own_word}", trusted) == "203.0.113.9/32"


@given(st.text())
def test_no_text_is_an_address_by_mistake(text: str) -> None:
    network = network_of(text)
    assert network is None or network.num_addresses in (1, 2**64)


def test_a_proxy_that_nobody_spoke_of_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    people = People(SESSIONS)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            people.of_request(visit("10.0.0.2", x_forwarded_for="203.0.113.9"))
    (told,) = caplog.messages
    assert "--trusted-proxies" in told and "203" not in told


def test_a_client_that_plays_proxy_is_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    one: Any = visit("8.8.8.8", x_forwarded_for="127.0.0.1")
    with caplog.at_level(logging.WARNING):
        People(SESSIONS).of_request(one)
    assert not caplog.messages


def test_who_is_here_is_counted_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    people, later_s = People(SESSIONS, api_keys=(KEY,)), [0.0]
    steady = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: steady() + later_s[0])
    for one in (visit(), visit("198.51.100.1"), request(authorization=f"Bearer {KEY}")):
        people.of_request(one)
    assert people.active() == 2  # the first two are one session
    later_s[0] = ACTIVE_S - 1
    people.of_anyone(request())
    people.of_anyone(visit())
    later_s[0] = ACTIVE_S + 1
    assert people.active() == 2
    monkeypatch.setattr(module, "REMEMBERED_PEOPLE", 5)
    for number in range(9):
        people.of_address(request(f"192.0.2.{number}"))
    assert people.active() == 5


def test_who_has_no_session_is_an_address() -> None:
    people = People(SESSIONS)
    person = people.of_anyone(request())
    assert person == people.of_address(request()) and person.id == f"address:{person.address}"
    assert people.of_anyone(visit()) == people.of_request(visit())
