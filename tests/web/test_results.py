"""The Results tab's server side: what leads get, and that nobody else gets any of it."""

from __future__ import annotations

import io
import json
import socket
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx2
import pytest

from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import InputError, NotFoundError, RoleError
from llava_chat.feedback.results import Wanted, gather
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore
from llava_chat.web.chat.replies import Replies
from llava_chat.web.launch import launch
from llava_chat.web.results import figures, plots, reading
from llava_chat.web.results.desk import ResultsDesk, wanted_of
from llava_chat.web.results.tab import Results, _laid_out
from tests import judged
from tests.web.conftest import SECRET


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which much was said."""
    folder = tmp_path_factory.mktemp("data")
    judged.fill(folder)
    return folder


@pytest.fixture(scope="module")
def serve(engine: SwitchingEngine, store: ConversationStore, data_dir: Path) -> Iterator[Any]:
    """Start a server on the same data; host: the address that decides who leads there."""
    running = []
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GRADIO_TEMP_DIR", "")

        def start(**options: Any) -> str:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            settings = Settings(port=port, secret=SECRET, data_dir=data_dir, **options)
            replies = Replies()
            running.append((launch(engine, store, replies, settings), replies))
            return f"http://127.0.0.1:{port}/"

        yield start
        for blocks, replies in running:
            replies.close(grace_s=5)
            blocks.close(verbose=False)


@pytest.fixture(scope="module")
def lead(serve: Any) -> httpx2.Client:
    """Somebody at a page for this machine alone, who hosts it."""
    return visitor(serve())


@pytest.fixture(scope="module")
def annotator(serve: Any) -> httpx2.Client:
    """Somebody at a public page."""
    return visitor(serve(host="0.0.0.0"))


def visitor(url: str) -> httpx2.Client:
    client = httpx2.Client(base_url=url, timeout=60)
    client.get("/")
    return client


def call(client: httpx2.Client, name: str, *data: Any) -> list[Any]:
    """One event of the page, as the page sends it; what its outputs are told."""
    config = client.get("/config").json()
    event = next(one for one in config["dependencies"] if one["api_name"].endswith(name))
    body = {"data": list(data), "fn_index": event["id"], "session_hash": "abcdefgh"}
    asked = client.post("/gradio_api/queue/join", json=body)
    assert asked.status_code == 200, asked.text
    with client.stream("GET", "/gradio_api/queue/data?session_hash=abcdefgh") as stream:
        for line in stream.iter_lines():
            told = json.loads(line.removeprefix("data:")) if line else {}
            if told.get("msg") == "process_completed":
                assert told["success"], told
                return list(told["output"]["data"])
    raise AssertionError("the event never ended")


def test_a_lead_takes_an_export_away_as_a_zip(lead: httpx2.Client) -> None:
    before = set(Path(tempfile.gettempdir()).iterdir())
    answer = lead.get("/results/export", params={"format": "jsonl"})
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-disposition"] == 'attachment; filename="feedback-jsonl.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as zip:
        manifest = json.loads(zip.read("feedback/manifest.json"))
        assert manifest["counts"]["replies"] == 12 and manifest["counts"]["comparisons"] == 90
        assert set(zip.namelist()) == {f"feedback/{name}" for name in manifest["files"]} | {
            "feedback/manifest.json"
        }
    left = {path.name for path in set(Path(tempfile.gettempdir()).iterdir()) - before}
    assert not [name for name in left if name.startswith("llava_chat-")]


def test_a_project_is_taken_away_by_its_filter(
    lead: httpx2.Client, store: ConversationStore
) -> None:
    project = gather_project(store)
    answer = lead.get("/results/export", params={"format": "csv", "project": project})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as zip:
        assert json.loads(zip.read("feedback/manifest.json"))["counts"]["annotations"] == 72
    both = lead.get("/results/export", params={"format": "csv", "project": project, "model": "m"})
    assert both.status_code == 422 and "model" in both.json()["error"]


def gather_project(store: ConversationStore) -> str:
    from llava_chat.store import Projects

    return Projects(store).summaries("", all=True)[0].project.id


@pytest.mark.parametrize(
    ("query", "status", "named"),
    [
        ({"format": "exe"}, 422, "format"),
        ({}, 422, "format"),
        ({"format": "csv", "since": "soon"}, 422, "since"),
        ({"format": "csv", "project": "no such one"}, 404, "project"),
        ({"format": "csv", "project": "x" * 1000}, 422, "project"),
    ],
)
def test_a_wrong_export_is_refused_in_a_sentence(
    lead: httpx2.Client, query: dict[str, str], status: int, named: str
) -> None:
    answer = lead.get("/results/export", params=query)
    assert answer.status_code == status and named in answer.json()["error"]


def picture_path(store: ConversationStore) -> str:
    event = next(event for event in gather(store).events if event.place == "conversation")
    return f"/results/pictures/conversation/{event.source}/"


def test_leads_see_the_pictures_behind_a_figure(
    lead: httpx2.Client, store: ConversationStore
) -> None:
    path = picture_path(store)
    shown = lead.get(path + "0")
    assert shown.status_code == 200 and shown.headers["content-type"] == "image/jpeg"
    for wrong in (path + "1", "/results/pictures/item/x/0", "/results/pictures/file/x/0"):
        assert lead.get(wrong).status_code == 404


def test_nobody_else_gets_anything(annotator: httpx2.Client, store: ConversationStore) -> None:
    assert annotator.get("/results/export?format=jsonl").status_code == 403
    assert annotator.get(picture_path(store) + "0").status_code == 404
    nobody = httpx2.Client(base_url=annotator.base_url)
    assert nobody.get("/results/export?format=jsonl").status_code in (401, 403)


def test_the_events_of_the_tab_are_refused_too(annotator: httpx2.Client) -> None:
    """A hidden tab is no protection: whoever calls the event is told the same sentence."""
    for name, more in (("show", ()), ("count", ("jsonl",))):
        told = json.dumps(call(annotator, name, *[""] * 4, *more))
        assert "This is for leads" in told
        assert "scenes-large" not in told and "Circles" not in told


def test_a_lead_is_told_the_figures(lead: httpx2.Client) -> None:
    told = json.dumps(call(lead, "show", "", "", "", ""))
    for figure in ("scenes-large", "Circles", "Every two people", "alpha, ordinal", "Ann"):
        assert figure in told


def desk_of(store: ConversationStore, may: bool = True) -> ResultsDesk:
    def may_see(request: Any) -> None:
        if not may:
            raise RoleError("This is for leads.")

    return ResultsDesk(store, may_see)


def test_every_method_of_the_desk_asks_who_it_is(store: ConversationStore, tmp_path: Path) -> None:
    desk, wanted = desk_of(store, may=False), Wanted()
    for method, given in (
        (desk.choices, ()),
        (desk.report, (wanted,)),
        (desk.behind, (wanted, "model", "scenes")),
        (desk.read, ("item", "x")),
        (desk.picture_id, ("item", "x", 0)),
        (desk.counts, ("csv", wanted)),
        (desk.export, ("csv", wanted, tmp_path / "out")),
    ):
        with pytest.raises(RoleError):
            method(None, *given)
    assert not (tmp_path / "out").exists()


def test_a_click_opens_the_list_then_one_conversation_then_goes_back(
    store: ConversationStore,
) -> None:
    with gr.Blocks(), gr.Tabs():
        page = Results(_laid_out(), desk_of(store))
    values: dict[Any, Any] = dict.fromkeys(page.parts.filters, "")

    def act(action: str, value: str) -> str:
        event: Any = SimpleNamespace(_data={"action": action, "value": value})
        told = page.act(values, event, SimpleNamespace())  # type: ignore[arg-type]
        return str(told.get(page.parts.behind, told[page.parts.notice]))

    listed = act("behind", "reason:wrong_count")
    assert "Behind “wrong count”" in listed
    target = listed.split('data-action="read" data-value="')[1].split('"')[0]
    assert target.startswith("conversation:") and target.endswith(":reason:wrong_count")
    shown = act("read", target)
    assert "Not liked: It counts wrongly" in shown and "Corrected: A square" in shown
    assert 'data-action="behind" data-value="reason:wrong_count"' in shown
    assert "Nothing is there" in act("behind", "reason:no such")
    for wrong in ("file:/etc/passwd:x", "item:x", "", "conversation:\0"):
        assert "notice error" in act("read", wrong)


def test_what_people_wrote_is_inert(store: ConversationStore) -> None:
    from dataclasses import replace

    from llava_chat.feedback.results.reading import Passage, Reading

    evil = '"><script>alert(1)</script><img src=http://evil.test/x.png onerror=alert(1)>'
    passage = Passage("user", evil, ("a" * 64,), evil, (evil,))
    read = Reading(evil, ((passage, replace(passage, role="assistant")),), (evil,))
    report = desk_of(store).report(None, Wanted())
    html = [
        reading.article(read, evil, evil, evil, {}),
        reading.listed(evil, evil, [replace(report.events[0], source=evil, models=(evil,))], {}),
        figures.volumes(
            replace(report, volume=replace(report.volume, by_model={evil: report.volume.by_kind}))
        ),
    ]
    for told in html:
        assert (
            "<script" not in told
            and "<img src=http" not in told
            and "onerror=" not in told.split("&lt;img")[0]
        )


def test_plots_have_a_row_for_each_bar_and_begin_at_zero(store: ConversationStore) -> None:
    report = desk_of(store).report(None, Wanted())
    by_model = plots.by_model(report)
    assert by_model["sort"] == list(report.volume.by_model)
    assert by_model["y_lim"][0] == 0
    assert int(by_model["value"]["Count"].max()) == max(
        count for counts in report.volume.by_model.values() for count in counts.values()
    )
    assert set(plots.by_reason(report)["sort"]) == {"hallucinated object", "style", "wrong count"}
    strengths = plots.strengths(report)["value"]
    assert list(strengths["Model"])[::3] == ["scenes-large", "scenes", "other"]
    nothing = desk_of(store).report(None, Wanted(model="nobody"))
    for plot in (plots.over_time, plots.by_model, plots.by_reason, plots.strengths):
        assert len(plot(nothing)["value"]) == 0


def test_filters_are_checked() -> None:
    for field, values in (("model", ("", 5, "", "")), ("until", ("", "", "", "31.1.2026"))):
        with pytest.raises(InputError, match=field):
            wanted_of(*values)


def test_what_is_gone_is_not_found(store: ConversationStore) -> None:
    with pytest.raises(NotFoundError):
        desk_of(store).read(None, "item", "gone")
