"""What watches over a server learns whether it answers, at no cost to those who use it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from gradio_client import Client, handle_file
from prometheus_client.parser import text_string_to_metric_families

from llava_chat.engine.base import ChatEngine
from llava_chat.engine.local import LocalEngine
from llava_chat.engine.measured import PROBE, MeasuredEngine
from llava_chat.engine.switching import OpenEngine, SwitchingEngine
from llava_chat.errors import CheckpointError, EngineClosedError
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore
from llava_chat.web import readiness
from llava_chat.web.chat.replies import Replies
from llava_chat.web.launch import launch
from llava_chat.web.metrics import Metrics
from llava_chat.web.stopping import SENTENCE, Stopping
from tests.web.conftest import SECRET


@dataclass
class Served:
    """A running server, and what its test looks at."""

    url: str
    engine: SwitchingEngine
    metrics: Metrics
    told_to_stop: threading.Event

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(self.url + path, timeout=60)

    def ready(self) -> tuple[int, dict[str, Any]]:
        answer = self.get("readyz")
        return answer.status_code, answer.json()

    def samples(self) -> dict[str, float]:
        """By name, and the value of the label where there is one."""
        found = {}
        for family in text_string_to_metric_families(self.get("metrics").text):
            for sample in family.samples:
                if "le" not in sample.labels:
                    name = [sample.name, *list(sample.labels.values())[:1]]
                    found[" ".join(name)] = sample.value
        return found


@pytest.fixture
def serve(store: ConversationStore, data_dir: Path) -> Callable[..., Any]:
    @contextmanager
    def serve(open_model: OpenEngine) -> Iterator[Served]:
        metrics, told_to_stop = Metrics(), threading.Event()
        with pytest.MonkeyPatch.context() as environment, socket.socket() as free:
            for name in ("GRADIO_TEMP_DIR", "FORWARDED_ALLOW_IPS"):
                environment.setenv(name, "")
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
            settings = Settings(
                port=port, secret=SECRET, data_dir=data_dir, temperature=0, max_new_tokens=6,
                messages_per_minute=2,
            )  # fmt: skip
            free.close()
            engine = SwitchingEngine(
                lambda name, report: MeasuredEngine(open_model(name, report), metrics), "tiny"
            )
            replies, stopping = Replies(), Stopping(told_to_stop)
            blocks = launch(engine, store, replies, settings, (), stopping, metrics)
            try:
                yield Served(f"http://127.0.0.1:{port}/", engine, metrics, told_to_stop)
            finally:
                replies.close(0)
                engine.close(0)
                blocks.close(verbose=False)

    return serve


@pytest.fixture
def served(
    serve: Callable[..., Any], random_checkpoint: Callable[..., Checkpoint]
) -> Iterator[Served]:
    with serve(lambda name, report: LocalEngine(random_checkpoint())) as server:
        server.engine.wait()
        yield server


def probes(server: Served, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What will have been asked to see whether the model answers."""
    asked: list[object] = []
    stream = server.engine.stream

    def noted(conversation: Any, generation: Any) -> Any:
        if conversation is PROBE:
            asked.append(conversation)
        return stream(conversation, generation)

    monkeypatch.setattr(server.engine, "stream", noted)
    return asked


def test_nobody_who_asks_becomes_a_session(served: Served) -> None:
    for path in ("healthz", "readyz", "metrics"):
        answer = served.get(path)
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"
    assert served.samples()["llava_chat_people"] == 0


def test_however_many_ask_the_model_is_asked_once(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = probes(served, monkeypatch)
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: served.ready(), range(24)))
    assert len(asked) == 1
    assert {status for status, _ in answers} == {200}
    told = answers[0][1]
    assert (told["status"], told["model"]) == ("ready", served.engine.model.id)
    assert 0 <= told["last_token_age_s"] < readiness.FRESH_S
    assert "llava_chat_replies_total stop" in served.samples()
    assert served.samples()["llava_chat_generated_tokens_total"] == 0  # it was nobody's reply


def test_a_token_that_somebody_got_is_proof_enough(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = probes(served, monkeypatch)
    Client(served.url, verbose=False).predict("Hello", [], api_name="/chat")
    assert served.ready()[0] == 200
    assert asked == []
    monkeypatch.setattr(readiness, "FRESH_S", 0.0)  # now it was long ago
    assert served.ready()[0] == 200
    assert len(asked) == 1


def test_a_model_that_hangs_is_told_and_asked_no_second_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, goes_on = [], threading.Event()

    def hangs(conversation: Any, generation: Any) -> Any:
        asked.append(conversation)
        goes_on.wait(60)
        raise EngineClosedError("It is over.")

    with monkeypatch.context() as broken:
        broken.setattr(served.engine, "stream", hangs)
        broken.setattr(readiness, "PROBE_S", 0.2)
        broken.setattr(readiness, "KEPT_S", 0.0)
        for _ in range(3):
            status, told = served.ready()
            assert (status, told["status"]) == (503, "failing")
            assert "gave no token" in told["reason"]
        assert len(asked) == 1
        assert served.get("healthz").status_code == 200


def test_a_model_that_breaks_is_not_ready(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(conversation: Any, generation: Any) -> Any:
        raise ZeroDivisionError("secret detail")

    with monkeypatch.context() as broken:
        broken.setattr(served.engine, "stream", breaks)
        status, told = served.ready()
    assert (status, told["status"]) == (503, "failing")
    assert "ZeroDivisionError" in told["reason"] and "secret" not in told["reason"]
    assert "secret detail" in caplog.text


def test_an_engine_that_refuses_is_not_ready(served: Served) -> None:
    served.engine.close(0)
    status, told = served.ready()
    assert (status, told["status"]) == (503, "failing")
    assert "shutting down" in told["reason"]


def test_all_is_answered_while_the_model_is_opened(serve: Callable[..., Any]) -> None:
    opened = threading.Event()

    def slow(name: str, report: object) -> ChatEngine:
        opened.wait(60)
        raise CheckpointError("There are no weights in tiny.")

    with serve(slow) as server:
        assert server.get("healthz").json() == {"status": "alive"}
        status, told = server.ready()
        assert (status, told["status"]) == (503, "opening")
        assert "tiny is still being loaded" in told["reason"]
        samples = server.samples()
        assert samples["llava_chat_replies_waiting"] == 0
        assert not [name for name in samples if name.startswith("llava_chat_model_info")]
        opened.set()
        with pytest.raises(CheckpointError):
            server.engine.wait()
        assert server.ready() == (
            503,
            {"status": "failing", "reason": "There are no weights in tiny."},
        )


def test_a_server_that_stops_is_alive_and_takes_nothing_new(served: Served) -> None:
    client = Client(served.url, verbose=False)
    served.told_to_stop.set()
    assert served.ready()[0] == 503 and served.ready()[1]["status"] == "stopping"
    assert served.get("healthz").json() == {"status": "stopping"}
    assert served.get("metrics").status_code == 200
    page = served.get("")
    assert (page.status_code, page.text) == (503, SENTENCE)
    assert page.headers["retry-after"]
    refused = httpx2.post(served.url + "gradio_api/upload", files={"files": ("a.jpg", b"a")})
    assert (refused.status_code, refused.json()["detail"]) == (503, SENTENCE)
    assert httpx2.post(served.url + "v1/chat/completions").json()["error"]["message"] == SENTENCE
    reply, _ = client.predict("Hello", [], api_name="/chat")  # that page was open before
    assert reply


def test_metrics_count_what_happened_and_name_nobody(
    served: Served, draw: Callable[[str], Path]
) -> None:
    client = Client(served.url, verbose=False)
    first, conversation_id = client.predict(
        "What is it?", [handle_file(str(draw("red")))], api_name="/chat"
    )
    client.predict("And now?", [], conversation_id, api_name="/chat")
    with pytest.raises(Exception, match="2 messages in the last minute"):
        client.predict("And now?", [], conversation_id, api_name="/chat")
    samples = served.samples()
    model = served.engine.model
    replies = sum(
        value for name, value in samples.items() if name.startswith("llava_chat_replies_total")
    )
    assert replies == samples["llava_chat_first_token_seconds_count"] == 2
    tokens = samples["llava_chat_generated_tokens_total"]
    assert samples["llava_chat_token_seconds_count"] == tokens - 2
    assert samples["llava_chat_prompt_tokens_total"] > samples["llava_chat_reused_tokens_total"] > 0
    assert samples["llava_chat_uploads_total"] == samples["llava_chat_people"] == 1
    assert samples["llava_chat_refused_total messages"] == 1
    assert samples["llava_chat_refused_total tokens"] == samples["llava_chat_replies_running"] == 0
    assert samples["process_resident_memory_bytes"] > 2**20
    assert f'model="{model.id}"' in (text := served.get("metrics").text)
    for secret in (conversation_id, first, *client.cookies.values(), "127.0.0.1"):
        assert secret not in text


def test_servers_of_one_process_count_apart(served: Served) -> None:
    other = Metrics()
    other.first_token(0.1)
    assert served.samples()["llava_chat_first_token_seconds_count"] == 0
