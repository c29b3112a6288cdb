"""Steps of several events reach a page in any order; the last ones to come show what is so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.web.conftest import run
from tests.web.tabs import Tab, asked, rest, shown_last, until

Steps = list[dict[Any, Any]]


def stops(tab: Tab, steps: Steps) -> bool:
    """Whether the composer's button stops a reply, after these steps."""
    composer = tab.handlers.parts.composer
    return bool([step[composer].stop_btn for step in steps if composer in step][-1])


def test_a_page_that_opens_late_does_not_bring_back_the_button_that_stops(
    new_tab: Callable[..., Tab],
) -> None:
    conversation_id = asked(new_tab(), "Before")
    tab = new_tab(c=conversation_id)

    async def go() -> tuple[Steps, Steps]:
        opening = tab.handlers.open_page(tab.values(), tab.request())
        sending = tab.send("Quick", max_new_tokens=4)
        opened = [await anext(opening)]  # on its way while all of the reply is sent
        sent = await rest(sending)
        return sent, opened + await rest(opening)

    sent, opened = run(go())
    assert not stops(tab, sent) and not stops(tab, opened)
    assert "Quick" in shown_last(tab, sent) and "Quick" in shown_last(tab, opened)
    assert len(opened) == 2 and tab.handlers.parts.notice not in opened[1]


def test_what_is_overtaken_again_is_shown_again(new_tab: Callable[..., Tab]) -> None:
    first, second = asked(new_tab(), "The first"), asked(new_tab(), "The second")
    tab = new_tab(c=first)

    async def go() -> Steps:
        opening = tab.handlers.open_page(tab.values(), tab.request())
        opened = [await anext(opening)]
        await rest(tab.act("open", conversation=second))
        opened.append(await anext(opening))
        await rest(tab.act("new"))
        return opened + await rest(opening)

    opened = run(go())
    thread = tab.handlers.parts.thread
    told = [str(step[thread]) for step in opened]
    assert ["The first" in each for each in told] == [True, False, False]
    assert ["The second" in each for each in told] == [False, True, False]


def test_who_goes_elsewhere_before_the_first_word_may_write_there(
    new_tab: Callable[..., Tab],
) -> None:
    tab = new_tab()

    async def go() -> tuple[Steps, Steps]:
        sending = tab.send("Elsewhere", max_new_tokens=900)
        sent = [await anext(sending)]
        gone = await rest(tab.act("new"))
        sent += await rest(sending)
        return gone, sent

    gone, sent = run(go())
    assert stops(tab, gone) and not stops(tab, sent)
    assert not any(tab.handlers.parts.thread in step for step in sent)


def test_a_reply_that_ends_while_its_beginning_is_on_its_way_is_shown_once(
    new_tab: Callable[..., Tab],
) -> None:
    tab = new_tab()

    async def go() -> Steps:
        sending = tab.send("Quick", max_new_tokens=4)
        steps: Steps = []
        while tab.view.conversation_id is None:
            steps.append(await anext(sending))
        live = tab.turns.replies.running(tab.view.conversation_id)
        await until(lambda: live is None or live.ended)
        return steps + await rest(sending)

    steps = run(go())
    assert not stops(tab, steps)
    assert sum(tab.handlers.parts.thread in step for step in steps) == 2
