"""Hub ids, with the real client against a Hub on this machine and a cache of the test's own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import XetDownloadError

from llava_chat.assembly import check_model
from llava_chat.errors import CheckpointError
from llava_chat.model.checkpoint import load_checkpoint
from llava_chat.model.inspection import inspect_checkpoint
from llava_chat.model.location import locate
from llava_chat.progress import Progress
from llava_chat.settings import Settings
from tests.model.hub_server import Hub, Repository
from tests.model.published.layouts import in_cache, write
from tests.model.published.rows import V1_5

NAME = "somebody/tiny"
NOT_WANTED = {
    "README.md": b"# tiny",
    "pytorch_model.bin": b"the same weights again",
    "tf_model.h5": b"and again",
    "tiny.Q4_K_M.gguf": b"and again",
    "training_args.bin": b"a trainer's settings",
    "consolidated.safetensors": b"and again",
    "original/model.safetensors": b"and again",
}


@pytest.fixture
def tiny(hub: Hub, saved: Path) -> Repository:
    """A checkpoint on it, in several shards, among other files."""
    repository = Repository.of(saved)
    repository.files |= NOT_WANTED
    hub.repositories[NAME] = repository
    return repository


def refusal(name: str, download: bool = True) -> str:
    with pytest.raises(CheckpointError) as error:
        locate(name, download=download)
    sentence = str(error.value)
    assert "\n" not in sentence and len(sentence) < 400
    return sentence


def shards_of(repository: Repository) -> list[str]:
    return sorted(name for name in repository.files if name.startswith("model-"))


def test_a_model_is_downloaded_once_and_loads(hub: Hub, tiny: Repository) -> None:
    told: list[Progress] = []
    located = locate(NAME, report=told.append)
    assert (located.id, located.revision) == (NAME, tiny.commit)
    unread = {"generation_config.json", *NOT_WANTED}
    wanted = {name: content for name, content in tiny.files.items() if name not in unread}
    assert {path.name: path.read_bytes() for path in located.folder.iterdir()} == wanted
    total = sum(len(content) for content in wanted.values())
    assert sum(hub.sent.values()) == total
    assert [step.done for step in told] == sorted(step.done for step in told)
    assert (told[0].done, told[-1].done, told[-1].total) == (0, total, total)
    assert {(step.step, step.unit) for step in told} == {(f"downloading {NAME}", "bytes")}

    hub.forget()
    assert load_checkpoint(NAME).revision == tiny.commit
    assert hub.requests == [f"GET /api/models/{NAME}/revision/main"]
    hub.forget()
    assert locate(NAME, download=False) == located
    assert hub.requests == []


def test_nothing_is_printed(hub: Hub, tiny: Repository, capfd: pytest.CaptureFixture[str]) -> None:
    locate(NAME)
    assert capfd.readouterr() == ("", "")


def test_a_dropped_connection_goes_on_where_it_was(
    hub: Hub, tiny: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    shard = shards_of(tiny)[1]
    hub.drops[shard] = [50_000, 60_000]
    told: list[Progress] = []
    folder = locate(NAME, report=told.append).folder
    assert (folder / shard).read_bytes() == tiny.files[shard]
    assert hub.ranges == [f"{shard} bytes=50000-", f"{shard} bytes=110000-"]
    assert hub.sent[shard] == len(tiny.files[shard])
    assert told[-1].done == told[-1].total


def test_a_download_that_stops_is_not_whole_and_goes_on_with_what_is_missing(
    hub: Hub, tiny: Repository
) -> None:
    first, second, *rest = shards_of(tiny)
    hub.broken = {second}
    sentence = refusal(NAME)
    assert "The download of somebody/tiny stopped (" in sentence and "is kept" in sentence
    assert "or only in part" in refusal(NAME, download=False)

    hub.broken = set()
    hub.forget()
    told: list[Progress] = []
    located = locate(NAME, report=told.append)
    assert set(hub.sent) == {second, *rest}
    assert told[0].done > len(tiny.files[first])
    assert locate(NAME, download=False) == located


def test_a_download_that_is_interrupted_is_not_whole(hub: Hub, tiny: Repository) -> None:
    def interrupt(step: Progress) -> None:
        if step.done > step.total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        locate(NAME, report=interrupt)
    assert "or only in part" in refusal(NAME, download=False)
    assert locate(NAME).revision == tiny.commit


@pytest.mark.parametrize("lacking", ["config.json", "tokenizer.json", "model-00002-of-00003"])
def test_a_cache_that_lost_a_file_is_not_whole(hub: Hub, tiny: Repository, lacking: str) -> None:
    folder = locate(NAME).folder
    for path in folder.glob(f"{lacking}*"):
        path.resolve().unlink()
        path.unlink()
    assert "or only in part" in refusal(NAME, download=False)
    hub.forget()
    locate(NAME)
    assert [name.startswith(lacking) for name in hub.sent] == [True]


def test_a_new_commit_is_taken_where_it_can_be_had(hub: Hub, tiny: Repository) -> None:
    old = locate(NAME)
    shard = shards_of(tiny)[0]
    tiny.files[shard] = bytes(reversed(tiny.files[shard]))
    hub.broken = {shard}
    assert locate(NAME) == old  # it is whole, and the new one does not come
    hub.broken = set()
    hub.forget()
    new = locate(NAME)
    assert new.revision == tiny.commit != old.revision
    assert set(hub.sent) == {shard}  # the other files are the same
    assert locate(NAME, download=False) == new
    assert locate(f"{NAME}@{old.revision}", download=False) == old


def test_a_revision_can_be_named(hub: Hub, tiny: Repository) -> None:
    located = locate(f"{NAME}@{tiny.commit}")
    assert (located.id, located.revision) == (NAME, tiny.commit)
    sentence = refusal(f"{NAME}@v9")
    assert sentence == f"{NAME} has no branch, tag or commit v9 on the Hugging Face Hub."


def test_no_such_model(hub: Hub) -> None:
    sentence = refusal("somebody/none")
    assert "There is no folder somebody/none" in sentence and "`hf auth login`" in sentence
    assert not Path(constants.HF_HUB_CACHE).exists()


def test_a_gated_model(hub: Hub, tiny: Repository) -> None:
    tiny.gated = True
    sentence = refusal(NAME)
    assert f"accept its licence: do that on {hub.url}/{NAME}" in sentence
    assert "`hf auth login`" in sentence
    assert hub.sent == {}


def test_a_disk_that_is_too_small(hub: Hub, tiny: Repository) -> None:
    tiny.sizes[shards_of(tiny)[0]] = 10**18
    sentence = refusal(NAME)
    assert "needs 1000000000.0 GB" in sentence and "GB left" in sentence
    assert hub.sent == {}


def test_no_hub_without_and_with_a_cache(
    hub: Hub, tiny: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = "http://127.0.0.1:9"  # the port of `discard`, where nobody listens
    with monkeypatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", nowhere)
        assert "the Hugging Face Hub could not be asked" in refusal(NAME)
    located = locate(NAME)
    monkeypatch.setattr(constants, "ENDPOINT", nowhere)
    assert locate(NAME) == located


@pytest.mark.parametrize(
    ("chosen", "others"),
    [
        (
            "config.json pytorch_model-00001-of-00002.bin pytorch_model-00002-of-00002.bin "
            "pytorch_model.bin.index.json",
            "mm_projector.bin trainer_state.json",
        ),
        ("adapter_config.json adapter_model.bin config.json non_lora_trainables.bin", "README.md"),
        ("adapter_config.json adapter_model.safetensors", "adapter_model.bin optimizer.bin"),
        ("config.json mm_projector.bin", "training_args.bin"),
        ("config.json pytorch_model.bin", "tf_model.h5 flax_model.msgpack rust_model.ot"),
    ],
)
def test_each_weight_is_downloaded_once(hub: Hub, chosen: str, others: str) -> None:
    names = [*chosen.split(), *others.split()]
    hub.repositories[NAME] = Repository({name: name.encode() for name in names})
    folder = locate(NAME).folder
    assert sorted(path.name for path in folder.iterdir()) == chosen.split()
    assert locate(NAME, download=False).folder == folder


def test_a_repository_without_weights_that_are_read(hub: Hub) -> None:
    hub.repositories[NAME] = Repository({"config.json": b"{}", "model.gguf": b"", "x.onnx": b""})
    assert "holds no weights that are read here" in refusal(NAME)
    assert hub.sent == {}


def test_the_environment_names_the_hub_and_the_cache(
    hub: Hub, tiny: Repository, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    code = (
        "import json, sys; from llava_chat.model.location import locate; "
        "print(json.dumps(str(locate(sys.argv[1]).folder)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, NAME],
        env=os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout).startswith(f"{home}{os.sep}")
    assert done.stderr == ""


@pytest.mark.parametrize(
    "error",
    [
        httpx2.ReadTimeout("The read operation timed out"),
        httpx2.ProxyError("403 Forbidden"),
        XetDownloadError("Data was lost"),
        ConnectionError("Network is unreachable\nand more"),
        httpx2.ReadTimeout(""),
    ],
)
def test_whatever_the_client_raises_is_told_in_one_sentence(
    hub: Hub, tiny: Repository, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise error

    reason = str(error).split("\n")[0] or type(error).__name__
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    assert f"stopped ({reason});" in refusal(NAME)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)
    assert f"of that name ({reason}); look at the network" in refusal(NAME)


def test_a_model_is_inspected_without_its_weights(hub: Hub, tiny: Repository, saved: Path) -> None:
    found = inspect_checkpoint(NAME)
    whole = inspect_checkpoint(str(saved))
    shards = [*shards_of(tiny), "model.safetensors.index.json"]
    assert found["download_bytes"] == sum(len(tiny.files[name]) for name in shards)
    assert not set(shards) & set(hub.sent)
    told = ("family", "layout", "tower", "projector", "language_model", "template", "parameters")
    assert {name: found[name] for name in told} == {name: whole[name] for name in told}
    assert (found["problems"], found["revision"]) == ([], tiny.commit)
    with pytest.raises(CheckpointError, match="was not downloaded yet"):
        locate(NAME, download=False)  # nor does it count as here


def test_a_model_that_is_too_large_is_known_before_it_is_downloaded(
    hub: Hub, tiny: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llava_chat.model.memory.free_bytes", lambda device: 10_000)
    with pytest.raises(CheckpointError, match=rf"{NAME} needs about .* where 0\.0 GB are free"):
        check_model(Settings(model=NAME, device="cpu"))
    assert not set(shards_of(tiny)) & set(hub.sent)


def test_a_model_that_cannot_be_had_is_known_before_anything_else(hub: Hub) -> None:
    with pytest.raises(CheckpointError, match="no model of that name on the Hugging Face Hub"):
        check_model(Settings(model="somebody/else", device="cpu"))


def test_a_tower_that_is_still_to_be_downloaded_comes_with_its_model(
    hub: Hub, tmp_path: Path
) -> None:
    row = next(row for row in V1_5 if row.label == "llava-v1.5-7b-original")
    written = write(row, tmp_path / "model", tmp_path / "hub")
    hub.repositories[NAME] = Repository.of(written.folder)
    hub.repositories[row.tower] = Repository.of(in_cache(written.hub, row.tower))
    locate(NAME)
    found = inspect_checkpoint(NAME)
    assert found["problems"] == []
    assert found["download_bytes"] == len(hub.repositories[row.tower].files["pytorch_model.bin"])
    assert "pytorch_model.bin" not in hub.sent
    assert load_checkpoint(NAME, device="cpu").model.tower.image_size_px == 24
    assert inspect_checkpoint(NAME)["download_bytes"] == 0
