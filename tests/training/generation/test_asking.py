"""A server that answers as a model would, and everything that can happen on the way to it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from llava_chat.engine.remote.completions import Completions
from llava_chat.errors import EngineBusyError, RefusedRequestError, RemoteEngineError
from llava_chat.progress import Progress
from llava_chat.training.generation.asking import (
    MOST_FAILURES_IN_A_ROW,
    Asking,
    AskingSettings,
    Stopped,
)
from llava_chat.training.generation.cost import Prices
from llava_chat.training.generation.journal import NAME, Journal
from llava_chat.training.generation.kinds import ASKED_KINDS
from llava_chat.training.generation.ledger import Ledger
from llava_chat.training.generation.plan import Task, planned
from llava_chat.training.generation.prompts import load_prompts
from llava_chat.training.generation.reading import read_pictures
from tests.training.generation.conftest import MADE_UP, MakeClient, MakeModel
from tests.training.generation.model import BROKEN, UNFIT, USAGE, Key

PROMPTS = load_prompts()
PICTURES = read_pictures([MADE_UP])
TASKS = planned(PICTURES, dict.fromkeys(ASKED_KINDS, len(PICTURES)), 0)
TROUBLES = ("429", "500", "half", "slammed", "late", "well", *UNFIT)


def ask(
    folder: Path,
    client: Completions,
    tasks: list[Task] = TASKS,
    attempts: int = 3,
    report: Callable[[Progress], None] = lambda progress: None,
    **settings: object,
) -> tuple[Ledger, Stopped]:
    """A run in the folder, on top of those before it."""
    with Journal(folder, {}) as journal:
        ledger = Ledger.of(journal.entries, attempts)
        given = AskingSettings(**settings)  # type: ignore[arg-type]
        return ledger, Asking(client, PROMPTS, journal, ledger, given).run(tasks, report)


def key_of(task: Task) -> Key:
    return task.kind, task.picture.context


def test_everything_is_answered_whatever_happens_on_the_way(
    described: Path, make_model: MakeModel, make_client: MakeClient, tmp_path: Path
) -> None:
    pictures = read_pictures([described])
    counts = {kind: min(20, len(pictures)) for kind in ASKED_KINDS}
    tasks = planned(pictures, counts, 0)
    places = {key_of(task): place for place, task in enumerate(tasks)}

    def troubles(key: Key) -> list[str]:
        """Two of them for each, another pair each time, and none twice what uses up an attempt."""
        place = places[key]
        return [TROUBLES[place % len(TROUBLES)], TROUBLES[(place // 3 + 1) % len(TROUBLES)]]

    model = make_model(troubles=troubles)
    ledger, stopped = ask(tmp_path, make_client(model), tasks)
    assert stopped == Stopped()
    assert set(ledger.turns) == {task.key for task in tasks}
    met = Counter(trouble for key in places for trouble in those_met(troubles(key)))
    assert {why for _, why in ledger.unfit} == set(UNFIT)
    for why in UNFIT:
        assert sum(n for (_, of), n in ledger.unfit.items() if of == why) == met[why]
    assert sum(ledger.asked.values()) == sum(model.said.values())
    assert model.requests == len(tasks) + sum(met[each] for each in (*UNFIT, *BROKEN))
    assert (ledger.tokens.prompt, ledger.tokens.estimated) == (1000 * sum(model.said.values()), 0)


def those_met(troubles: list[str]) -> list[str]:
    """Those that a row meets before it is answered well."""
    return troubles[:1] if troubles[0] in ("well", "late") else troubles


def test_what_is_sent(make_model: MakeModel, make_client: MakeClient, tmp_path: Path) -> None:
    model = make_model(troubles=lambda key: ["empty"])
    ask(tmp_path, make_client(model), TASKS[:1], temperature=0.5, max_new_tokens=300, seed=7)
    first, again = model.bodies
    task = TASKS[0]
    assert first == {
        "model": "writer",
        "messages": PROMPTS.asked[task.kind].messages(task.picture.context),
        "temperature": 0.5,
        "max_tokens": 300,
        "seed": 7,
    }
    assert again == first | {"seed": 8}


def test_no_more_at_once_than_wanted(
    make_model: MakeModel, make_client: MakeClient, tmp_path: Path
) -> None:
    model = make_model(troubles=lambda key: ["late"])
    ask(tmp_path, make_client(model), at_once=3)
    assert model.most_at_once == 3


def test_a_row_is_given_up_after_so_many_unfit_replies_and_not_asked_again(
    make_model: MakeModel, make_client: MakeClient, tmp_path: Path
) -> None:
    model = make_model(troubles=lambda key: ["empty"] * 9)
    client = make_client(model)
    for attempts, asked in ((2, 2), (2, 2), (3, 3)):
        ledger, stopped = ask(tmp_path, client, TASKS[:4], attempts=attempts)
        assert set(model.said.values()) == {asked}
        assert sum(ledger.is_given_up(task) for task in TASKS) == 4
        assert stopped == Stopped()


def test_a_server_that_does_not_count_is_counted_for(
    make_model: MakeModel, make_client: MakeClient, tmp_path: Path
) -> None:
    ledger, _ = ask(tmp_path, make_client(make_model(usage=False)), TASKS[:2])
    assert ledger.tokens.estimated == ledger.tokens.prompt + ledger.tokens.completion > 1000


def test_what_the_server_does_not_take_is_counted_and_asked_in_the_next_run(
    make_model: MakeModel, make_client: MakeClient, tmp_path: Path
) -> None:
    model = make_model(troubles=lambda key: ["400"] if key[0] == "detail" else [])
    client = make_client(model)
    ledger, stopped = ask(tmp_path, client, TASKS[:12], at_once=1)
    (((kind, why), number),) = stopped.refused.items()
    assert (kind, number) == ("detail", 4)
    assert "not nice" in why
    assert (len(ledger.turns), stopped.unanswered, stopped.why) == (8, 0, None)
    ledger, stopped = ask(tmp_path, client, TASKS[:12])
    assert (len(ledger.turns), stopped) == (12, Stopped())


def test_the_last_rows_may_all_be_refused(
    make_model: MakeModel, make_client: MakeClient, tmp_path: Path
) -> None:
    model = make_model(troubles=lambda key: ["400"])
    _, stopped = ask(tmp_path, make_client(model), TASKS[:MOST_FAILURES_IN_A_ROW])
    assert sum(stopped.refused.values()) == MOST_FAILURES_IN_A_ROW
    assert (stopped.unanswered, stopped.why) == (0, None)


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [("500", RemoteEngineError), ("429", EngineBusyError), ("400", RefusedRequestError),
     ("401", RemoteEngineError)],
)  # fmt: skip
def test_a_server_that_keeps_failing_is_left_alone_and_gone_on_with_later(
    trouble: str,
    kind: type[Exception],
    make_model: MakeModel,
    make_client: MakeClient,
    tmp_path: Path,
) -> None:
    model = make_model()
    ledger, _ = ask(tmp_path, make_client(model), TASKS[:10])
    model.troubles = lambda key: [trouble] * 99
    ledger, stopped = ask(tmp_path, make_client(model, retries=0), at_once=2)
    assert type(stopped.why) is kind
    assert len(ledger.turns) == 10
    assert model.requests <= 10 + MOST_FAILURES_IN_A_ROW + 1
    refused = sum(stopped.refused.values())
    assert stopped.unanswered + refused == len(TASKS) - 10
    well = make_model()
    ledger, stopped = ask(tmp_path, make_client(well))
    assert (len(ledger.turns), stopped) == (len(TASKS), Stopped())
    assert well.requests == len(TASKS) - 10


PRICES = Prices(100, 1000)  # a reply of the model's costs 0.2


def test_the_budget_ends_it_and_a_larger_one_goes_on(
    make_model: MakeModel, make_client: MakeClient, tmp_path: Path
) -> None:
    client = make_client(make_model())
    spent = []
    for limit in (3.0, 3.0, 4.0, 99.0):
        ledger, stopped = ask(tmp_path, client, prices=PRICES, max_cost=limit, at_once=4)
        spent.append(round(PRICES.of(ledger.tokens), 6))
        assert spent[-1] <= limit
        assert stopped.budget == (limit < 99)
        assert stopped.unanswered == len(TASKS) - len(ledger.turns)
    # The last ones are not asked, as they could have cost as much as 1.2 each.
    assert spent[0] == spent[1] >= 1.8
    assert spent[1] < spent[2] < spent[3] == round(0.2 * len(TASKS), 6)
    assert USAGE == {"prompt_tokens": 1000, "completion_tokens": 100}


def test_progress_says_how_far_it_is_and_what_it_costs(
    make_model: MakeModel, make_client: MakeClient, tmp_path: Path
) -> None:
    told: list[Progress] = []
    client = make_client(make_model())
    ask(tmp_path, client, report=told.append, prices=PRICES)
    assert [each.done for each in told] == list(range(1, len(TASKS) + 1))
    assert told[-1].words.startswith(
        "asking writer (33,000 tokens, 6.00 spent of about 6.00): 30 of 30 replies"
    )
    assert told[-1].left_s == 0 < (told[0].left_s or 0)
    assert "0.20 spent of about 6.00" in told[0].words


def test_no_thread_is_left_waiting(
    make_model: MakeModel, make_client: MakeClient, tmp_path: Path
) -> None:
    before = set(threading.enumerate())
    asking = set[threading.Thread]()

    def look(progress: Progress) -> None:
        asking.update(each for each in threading.enumerate() if each.name == "generate-data")

    ask(tmp_path, make_client(make_model()), TASKS[:4], report=look)
    assert len(asking - before) == 4
    for thread in asking - before:
        thread.join(20)
        assert not thread.is_alive()


def test_it_runs_outside_the_main_thread_too(
    make_model: MakeModel, make_client: MakeClient, tmp_path: Path
) -> None:
    client = make_client(make_model())
    thread = threading.Thread(target=ask, args=(tmp_path, client, TASKS[:3]))
    thread.start()
    thread.join(20)
    entries = (tmp_path / NAME).read_text().splitlines()[1:]
    assert {json.loads(line)["picture"] for line in entries} == {t.picture.id for t in TASKS[:3]}
