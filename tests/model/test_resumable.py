"""What ends a large download, and what is sent again after it."""

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import constants

from llava_chat.errors import CheckpointError
from llava_chat.model import resumable
from llava_chat.model.location import locate
from llava_chat.progress import Progress
from tests.model.hub_server import Hub, Repository, served

NAME = "somebody/large"
WEIGHTS = "pytorch_model.bin"
CONTENT = random.Random(0).randbytes(300_000)
LARGE_BYTES = 100_000
OTHER_BYTES = 2  # of config.json, which comes first
ALL_BYTES = OTHER_BYTES + len(CONTENT)


@pytest.fixture(autouse=True)
def large(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository with a file that counts as large, and no pauses between tries."""
    monkeypatch.setattr("llava_chat.model.hub.LARGE_BYTES", LARGE_BYTES)
    monkeypatch.setattr(resumable, "_PAUSES_S", (0.0, 0.0))
    repository = Repository({"config.json": b"{}", WEIGHTS: CONTENT})
    hub.repositories[NAME] = repository
    return repository


def blobs() -> Path:
    return Path(constants.HF_HUB_CACHE) / "models--somebody--large" / "blobs"


def part() -> Path:
    return blobs() / f"{hashlib.sha256(CONTENT).hexdigest()}.resumable.incomplete"


def refusal() -> str:
    with pytest.raises(CheckpointError) as error:
        locate(NAME)
    sentence = str(error.value)
    assert "\n" not in sentence and len(sentence) < 400
    return sentence


def opens(hub: Hub, done: int) -> Callable[[Progress], None]:
    """A report that lets the Hub cut the connection once so many bytes are here."""
    hub.gate.clear()

    def report(step: Progress) -> None:
        if step.done >= done:
            hub.gate.set()

    return report


def test_a_large_file_comes_once_and_is_where_huggingface_hub_looks(hub: Hub) -> None:
    folder = locate(NAME).folder
    assert (folder / WEIGHTS).read_bytes() == CONTENT
    assert (folder / WEIGHTS).resolve() == blobs() / hashlib.sha256(CONTENT).hexdigest()
    assert hub.sent == {"config.json": 2, WEIGHTS: len(CONTENT)}
    assert not list(blobs().glob("*.incomplete"))
    hub.forget()
    assert locate(NAME).folder == folder
    assert hub.sent == {}


def test_where_links_are_not_possible_there_is_still_one_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda *_: False)
    weights = locate(NAME).folder / WEIGHTS
    assert weights.read_bytes() == CONTENT and not weights.is_symlink()
    assert list(blobs().iterdir()) == []


def test_connections_that_close_are_made_again_as_long_as_bytes_come(hub: Hub) -> None:
    hub.drops[WEIGHTS] = [50_000] * 5  # more often than it tries without getting any further
    told: list[int] = []
    folder = locate(NAME, report=lambda step: told.append(step.done)).folder
    assert (folder / WEIGHTS).read_bytes() == CONTENT
    assert hub.ranges == [f"{WEIGHTS} bytes={n * 50_000}-" for n in range(1, 6)]
    assert hub.sent[WEIGHTS] == len(CONTENT)
    assert told == sorted(told) and told[-1] == ALL_BYTES


def test_a_connection_that_is_reset(hub: Hub) -> None:
    hub.drops[WEIGHTS] = [50_000]
    hub.resets = {WEIGHTS}
    folder = locate(NAME, report=opens(hub, 50_000 + OTHER_BYTES)).folder
    assert (folder / WEIGHTS).read_bytes() == CONTENT
    assert hub.ranges == [f"{WEIGHTS} bytes=50000-"]
    assert hub.sent[WEIGHTS] == len(CONTENT)


def test_a_connection_that_brings_nothing_any_more_ends_it_and_the_part_is_kept(hub: Hub) -> None:
    hub.drops[WEIGHTS] = [50_000, 0, 0]
    sentence = refusal()
    assert sentence.startswith(f"The download of {NAME} stopped (") and "is kept" in sentence
    assert part().read_bytes() == CONTENT[:50_000]

    hub.forget()
    told: list[int] = []
    locate(NAME, report=lambda step: told.append(step.done))
    assert hub.ranges == [f"{WEIGHTS} bytes=50000-"]
    assert hub.sent[WEIGHTS] == 250_000
    assert told[0] >= 50_000 and told == sorted(told) and told[-1] == ALL_BYTES


def test_a_part_counts_as_room_that_is_taken_already(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.drops[WEIGHTS] = [200_000, 0, 0]
    refusal()
    usage = type("usage", (), {"free": 100_000})
    with monkeypatch.context() as patch:
        patch.setattr("llava_chat.model.hub.shutil.disk_usage", lambda _: usage)
        part().write_bytes(CONTENT[:199_999])
        assert "GB left" in refusal()
        part().write_bytes(CONTENT[:200_000])
        assert locate(NAME).folder.is_dir()


def test_a_refusal_is_not_asked_again(hub: Hub, large: Repository) -> None:
    def report(step: Progress) -> None:
        if step.done == 50_000 + OTHER_BYTES:
            large.gated = True
            hub.gate.set()

    hub.gate.clear()
    hub.drops[WEIGHTS] = [50_000]
    with pytest.raises(CheckpointError, match="stopped \\("):
        locate(NAME, report=report)
    gets = [line for line in hub.requests if line.startswith("GET") and line.endswith(WEIGHTS)]
    assert len(gets) == 2
    assert part().stat().st_size == 50_000


def test_another_content_is_not_taken(hub: Hub) -> None:
    hub.content[WEIGHTS] = bytes(reversed(CONTENT))
    assert refusal() == (
        f"{WEIGHTS} of {NAME} came with other content than the Hub lists (its SHA-256 differs); "
        "what came is deleted: start the download again."
    )
    assert not part().exists()
    hub.content.clear()
    assert (locate(NAME).folder / WEIGHTS).read_bytes() == CONTENT


@pytest.mark.parametrize("held", [bytes(1000), bytes(len(CONTENT))])
def test_a_part_that_holds_something_else_is_found_out(hub: Hub, held: bytes) -> None:
    blobs().mkdir(parents=True)
    part().write_bytes(held)
    assert "its SHA-256 differs" in refusal()
    assert (locate(NAME).folder / WEIGHTS).read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_begun_again(hub: Hub) -> None:
    blobs().mkdir(parents=True)
    part().write_bytes(CONTENT + b"more")
    assert (locate(NAME).folder / WEIGHTS).read_bytes() == CONTENT
    assert hub.ranges == []


def test_a_part_that_is_whole_is_only_put_in_its_place(hub: Hub) -> None:
    blobs().mkdir(parents=True)
    part().write_bytes(CONTENT)
    assert (locate(NAME).folder / WEIGHTS).read_bytes() == CONTENT
    assert WEIGHTS not in hub.sent


def test_a_page_in_between_does_not_cost_the_part(hub: Hub) -> None:
    blobs().mkdir(parents=True)
    part().write_bytes(CONTENT[:1000])
    hub.content[WEIGHTS] = b"<html>Please log in</html>"
    hub.rangeless = {WEIGHTS}
    assert f"{WEIGHTS} of {NAME} has 300000 bytes on the Hub, and what answered has 26" in refusal()
    assert part().read_bytes() == CONTENT[:1000]


def test_a_server_without_ranges_begins_again(hub: Hub) -> None:
    hub.rangeless = {WEIGHTS}
    hub.drops[WEIGHTS] = [200_000, 100_000]
    told: list[int] = []
    folder = locate(NAME, report=lambda step: told.append(step.done)).folder
    assert (folder / WEIGHTS).read_bytes() == CONTENT
    assert hub.ranges == [f"{WEIGHTS} bytes=200000-", f"{WEIGHTS} bytes=100000-"]
    assert told != sorted(told) and told[-1] == ALL_BYTES


def test_a_server_without_ranges_that_gets_no_further_is_given_up(hub: Hub) -> None:
    hub.rangeless = {WEIGHTS}
    hub.drops[WEIGHTS] = [50_000] * 9
    assert "stopped (" in refusal()
    assert len(hub.drops[WEIGHTS]) == 6


def test_the_token_goes_to_the_hub_and_to_nobody_else(
    hub: Hub, large: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with served() as cdn:
        cdn.repositories = {NAME: large}
        cdn.drops[WEIGHTS] = [50_000]
        hub.cdn = cdn.url.replace("127.0.0.1", "localhost")  # another host by its name too
        assert (locate(NAME).folder / WEIGHTS).read_bytes() == CONTENT
    assert cdn.ranges == [f"{WEIGHTS} bytes=50000-"]
    assert WEIGHTS not in hub.sent
    assert (hub.tokens, cdn.tokens) == ({"Bearer hf_secret"}, {None})


@contextmanager
def downloading(hub: Hub) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that downloads into the same cache, and prints each step's bytes."""
    code = (
        "import sys; from llava_chat.model import hub, location; "
        f"hub.LARGE_BYTES = {LARGE_BYTES}; "
        "location.locate(sys.argv[1], report=lambda step: print(step.done, flush=True))"
    )
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_CACHE": constants.HF_HUB_CACHE,
        "HF_HUB_OFFLINE": "0",
    }
    with subprocess.Popen(
        [sys.executable, "-c", code, NAME],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], done: int) -> None:
    assert process.stdout is not None
    assert any(int(line) >= done for line in process.stdout)


def test_a_process_that_is_killed_is_gone_on_with_by_another(hub: Hub) -> None:
    hub.gate.clear()
    hub.drops[WEIGHTS] = [150_000]
    with downloading(hub) as first:
        wait_for(first, 150_000 + OTHER_BYTES)
        first.kill()
    assert first.returncode != 0
    assert part().read_bytes() == CONTENT[:150_000]

    with downloading(hub) as second:
        wait_for(second, ALL_BYTES)
        assert second.wait() == 0
    hub.gate.set()
    assert hub.ranges == [f"{WEIGHTS} bytes=150000-"]
    assert hub.sent[WEIGHTS] == len(CONTENT)
    assert (locate(NAME, download=False).folder / WEIGHTS).read_bytes() == CONTENT


def test_two_processes_at_once_download_it_once(hub: Hub) -> None:
    hub.gate.clear()
    hub.drops[WEIGHTS] = [150_000]
    with downloading(hub) as first:
        wait_for(first, 150_000 + OTHER_BYTES)
        with downloading(hub) as second:
            wait_for(second, 100_000)  # it counts what the part holds, and then waits
            hub.gate.set()
            wait_for(first, ALL_BYTES)
            wait_for(second, ALL_BYTES)
            assert (first.wait(), second.wait()) == (0, 0)
    assert hub.sent[WEIGHTS] == len(CONTENT)
    assert (locate(NAME, download=False).folder / WEIGHTS).read_bytes() == CONTENT
