"""How much one person may have, what they are told, and that nothing of it stays for ever."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from llava_chat.errors import LimitError
from llava_chat.settings import Settings
from llava_chat.web import allowances as module
from llava_chat.web.allowances import SHARED_BY, Allowances, Left, Ticket
from llava_chat.web.people import Person

ADA, BOB = Person("session:ada", "home"), Person("session:bob", "office")


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time go by, or back, for both clocks that are asked."""
    wall, steady, gone_s, back_s = time.time, time.monotonic, [0.0], [0.0]
    monkeypatch.setattr(time, "time", lambda: wall() + gone_s[0] - back_s[0])
    monkeypatch.setattr(time, "monotonic", lambda: steady() + gone_s[0])

    def wait(seconds: float) -> None:
        (gone_s if seconds > 0 else back_s)[0] += abs(seconds)

    return wait


def refused(call: Callable[[], object]) -> LimitError:
    with pytest.raises(LimitError) as caught:
        call()
    return caught.value


def test_messages_of_a_minute(wait: Callable[[float], None]) -> None:
    allowances = Allowances(messages_per_minute=2)
    allowances.begin(ADA)
    wait(48)
    allowances.begin(ADA)
    problem = refused(lambda: allowances.begin(ADA))
    assert str(problem) == (
        "You have sent 2 messages in the last minute; the next one can go in 12 s."
    )
    assert problem.retry_after_s == pytest.approx(12, abs=1.5)
    allowances.begin(BOB)
    wait(12.5)  # only the first of them is a minute ago
    allowances.begin(ADA)
    refused(lambda: allowances.begin(ADA))


def test_replies_at_once() -> None:
    allowances = Allowances(replies_at_once=2)
    tickets = [allowances.begin(ADA) for _ in range(2)]
    problem = refused(lambda: allowances.begin(ADA))
    assert "2 replies are being written for you" in str(problem) and problem.retry_after_s
    tickets[0].end(5)
    tickets[0].end(5)  # a second end gives no second place back
    tickets.append(allowances.begin(ADA))
    refused(lambda: allowances.begin(ADA))


def test_a_ticket_that_is_lost_keeps_no_place() -> None:
    allowances = Allowances(replies_at_once=1)

    def breaks() -> Ticket:
        ticket = allowances.begin(ADA)
        assert ticket is not None
        raise ValueError

    with pytest.raises(ValueError):
        breaks()
    gc.collect()
    allowances.begin(ADA).end(0)
    assert not allowances._running


def test_uploads_of_an_hour() -> None:
    allowances = Allowances(uploads_per_hour=3)
    allowances.upload(ADA, 2)
    problem = refused(lambda: allowances.upload(ADA, 2))
    assert "3 pictures in the last hour" in str(problem) and "60 min" in str(problem)
    allowances.upload(ADA, 1)  # what was refused was not counted
    refused(lambda: allowances.upload(ADA, 1))
    assert "3 pictures may come in one hour, and this is 9" in str(
        refused(lambda: allowances.upload(BOB, 9))
    )


def test_what_is_said_of_replies_in_a_minute() -> None:
    allowances = Allowances(judgements_per_minute=2)
    allowances.judge(ADA)
    allowances.judge(ADA)
    problem = refused(lambda: allowances.judge(ADA))
    assert "You have sent 2 judgements in the last minute" in str(problem)
    assert allowances.refused == {"judgements": 1}
    allowances.judge(BOB)


def test_tokens_of_a_day_count_at_a_replys_end(wait: Callable[[float], None]) -> None:
    allowances = Allowances(tokens_per_day=100)
    first, second = allowances.begin(ADA), allowances.begin(ADA)
    first.end(99)
    allowances.begin(ADA)
    second.end(500)  # begun below the limit, written to its end
    problem = refused(lambda: allowances.begin(ADA))
    assert str(problem) == "The 100 tokens a day for you are used up; there are more in 24 h."
    wait(24 * 3600 + 1)
    allowances.begin(ADA)


def test_cookies_that_are_thrown_away_buy_so_much_and_no_more() -> None:
    allowances = Allowances(messages_per_minute=2)
    for number in range(2 * SHARED_BY):
        allowances.begin(Person(f"session:{number // 2}", "home"))
    problem = refused(lambda: allowances.begin(Person("session:new", "home")))
    assert "8 messages came from your network in the last minute" in str(problem)
    allowances.begin(BOB)
    for _ in range(2):  # a name or a key is nobody's neighbour
        allowances.begin(Person("user:ada"))


def test_a_network_has_so_many_replies_at_once() -> None:
    allowances = Allowances(replies_at_once=1)
    tickets = [allowances.begin(Person(f"session:{n}", "home")) for n in range(SHARED_BY)]
    assert "for your network" in str(refused(lambda: allowances.begin(ADA)))
    tickets.pop().end(1)
    allowances.begin(ADA)


def test_what_one_limit_refuses_another_does_not_count() -> None:
    allowances = Allowances(messages_per_minute=2, replies_at_once=1)
    ticket = allowances.begin(ADA)
    for _ in range(5):
        refused(lambda: allowances.begin(ADA))
    ticket.end(0)
    allowances.begin(ADA)


def test_what_is_left(wait: Callable[[float], None]) -> None:
    allowances = Allowances(messages_per_minute=10, tokens_per_day=1000)
    assert [(one.left, one.allowed) for one in allowances.left(ADA)] == [(10, 10), (1000, 1000)]
    for _ in range(8):
        allowances.begin(ADA).end(110)
    messages, tokens = allowances.left(ADA)
    assert (messages.left, tokens.left) == (2, 120)
    assert messages.low and tokens.low and 55 < messages.free_in_s <= 60
    wait(61)
    messages, tokens = allowances.left(ADA)
    assert (messages.left, tokens.left) == (10, 120)
    assert Allowances().left(ADA) == ()


def test_what_is_left_of_a_shared_address_where_that_is_less() -> None:
    allowances = Allowances(messages_per_minute=2)
    for number in range(2 * SHARED_BY - 1):
        allowances.begin(Person(f"session:{number // 2}", "home"))
    (messages,) = allowances.left(Person("session:new", "home"))
    assert (messages.left, messages.allowed) == (1, 2)


def test_small_allowances_are_low_only_once_they_are_used() -> None:
    assert not Left("messages", 1, 1, 0).low
    assert Left("messages", 0, 1, 60).low


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_defaults_are_those_of_a_public_page(host: str) -> None:
    lefts = Allowances.of(Settings(host=host)).left(ADA)
    public = [("messages", 20), ("pictures", 120), ("tokens", 200_000)]
    assert [(one.unit, one.allowed) for one in lefts] == (public if host == "0.0.0.0" else [])


def test_a_setting_wins_and_nought_is_any_number() -> None:
    settings = Settings(
        host="0.0.0.0", messages_per_minute=0, replies_at_once=0, uploads_per_hour=5
    )
    assert [one.unit for one in Allowances.of(settings).left(ADA)] == ["pictures", "tokens"]
    private = Allowances.of(Settings(tokens_per_day=7))
    assert [(one.unit, one.allowed) for one in private.left(ADA)] == [("tokens", 7)]


def test_a_clock_that_is_set_back_locks_nobody_out(wait: Callable[[float], None]) -> None:
    allowances = Allowances(messages_per_minute=1)
    allowances.begin(ADA)
    wait(-7200)
    allowances.begin(ADA)
    refused(lambda: allowances.begin(ADA))
    wait(61)
    allowances.begin(ADA)


def test_what_is_over_is_forgotten(wait: Callable[[float], None]) -> None:
    allowances = Allowances(
        messages_per_minute=9, replies_at_once=9, uploads_per_hour=9, tokens_per_day=99
    )
    for number in range(50):
        person = Person(f"session:{number}", f"address {number}")
        allowances.upload(person, 1)
        allowances.begin(person).end(3)
    storage = allowances._storage
    storage.timer.join()  # one that still runs would see the old time, and start no other
    wait(25 * 3600)
    allowances.begin(ADA).end(1)
    storage.timer.join()
    wait(module.SWEEP_S + 1)
    allowances.begin(ADA).end(0)
    storage.timer.join()
    assert len(storage.events) <= 2 and len(storage.storage) == 2 and not allowances._running


def test_many_at_once_get_exactly_what_is_allowed() -> None:
    allowances = Allowances(messages_per_minute=30)

    def begun(_: int) -> bool:
        try:
            allowances.begin(ADA)
        except LimitError:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(begun, range(100))) == 30
