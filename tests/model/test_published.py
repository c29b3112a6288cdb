"""Every published row of the LLaVA line is read as it is, and computes what transformers computes.

The reference is transformers' own class with the weights that were written (see `published`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from llava_chat.__main__ import main
from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, Event, GenerationSettings, Looking
from llava_chat.engine.local import LocalEngine
from llava_chat.errors import CheckpointError
from llava_chat.image import Picture, picture_from_image
from llava_chat.model.checkpoint import Checkpoint, load_checkpoint
from llava_chat.model.quantization import Quantization, bits_of
from llava_chat.model.sources import Search, find_sources
from llava_chat.model.weights import load_model
from tests.model.published.adapters import WRITERS, write_delta
from tests.model.published.layouts import Written, write
from tests.model.published.reference import Twin, logits, picture_rows, twin_of, views_of
from tests.model.published.rows import ROWS, V1

ROUNDING = 1e-5
BEFORE, AFTER = [1, 5, 6], [7, 8, 9]
NEW_TOKENS = 4

SIZES = [
    (1, 1), (10, 10), (24, 24), (37, 20), (20, 37), (48, 24), (24, 48), (48, 48), (72, 24),
    (24, 72), (64, 48), (31, 29), (200, 11), (11, 200), (640, 480), (107, 60),
]  # fmt: skip
"""(width, height): portraits, panoramas, exact multiples of a tile, and a single pixel."""


@dataclass(frozen=True)
class Loaded:
    """What was read of a row, and transformers' model with what was written."""

    written: Written
    checkpoint: Checkpoint
    twin: Twin


def use_cache(patch: pytest.MonkeyPatch, hub: Path) -> None:
    """Let the Hub be what lies in that cache, and nothing else."""
    patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def load(written: Written, template: str | None) -> Checkpoint:
    """In float32."""
    return load_checkpoint(str(written.folder), device="cpu", dtype="float32", template=template)


def made(written: Written) -> Loaded:
    """Loaded with the template that it names, or with one where it cannot name any."""
    checkpoint = load(written, None if written.row.template else "llava_v1")
    twin = twin_of(written.parts, written.vision, written.text, written.select, written.grid)
    return Loaded(written, checkpoint, twin)


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.label)
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loaded]:
    """A row that is a model by itself."""
    root = tmp_path_factory.mktemp("row")
    written = write(request.param, root / request.param.label, root / "hub")
    with pytest.MonkeyPatch.context() as patch:
        use_cache(patch, written.hub)
        yield made(written)


@pytest.fixture(scope="module", params=WRITERS)
def on_a_base(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loaded]:
    """A row that needs a base model."""
    written = WRITERS[request.param](tmp_path_factory.mktemp("row"))
    with pytest.MonkeyPatch.context() as patch:
        use_cache(patch, written.hub)
        yield made(written)


def noise(size: tuple[int, int]) -> Picture:
    width, height = size
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return picture_from_image(Image.fromarray(pixels))


@torch.no_grad()
def check_logits(loaded: Loaded, size: tuple[int, int]) -> None:
    """Ours for a picture between two runs of ids, against transformers' on its own road."""
    model, written, picture = loaded.checkpoint.model, loaded.written, noise(size)
    views = theirs = loaded.checkpoint.pixels(picture)
    if min(size) > 3:  # transformers' processors take a shorter side for the channels
        theirs = views_of(written.row, written.grid, picture.rgb())
        assert (views - theirs).abs().max() <= ROUNDING, size
    rows, expected = model.picture_rows(views, *size), picture_rows(loaded.twin, theirs, size)
    assert (model.tokens_of(*size), model.config.text.hidden_size) == expected.shape == rows.shape
    assert (rows - expected).abs().max() <= ROUNDING, size
    ids = torch.tensor([[*BEFORE, *[model.config.image_token_id] * rows.shape[0], *AFTER]])
    expected = logits(loaded.twin, BEFORE, theirs, size, AFTER)
    ours = model(model.embed(ids, rows))[..., : expected.shape[-1]]  # llava-hf's table is longer
    assert expected.std() > 0.1
    assert (ours - expected).abs().max() <= ROUNDING, size


def check_reply(loaded: Loaded) -> None:
    """One greedy turn through the engine writes the words that transformers writes."""
    checkpoint, picture = loaded.checkpoint, noise((37, 20))
    asked: list[int] = []
    embed = checkpoint.model.embed

    def listening(ids: torch.Tensor, features: torch.Tensor | None = None) -> torch.Tensor:
        asked.extend(ids.flatten().tolist())
        return embed(ids, features)

    engine = LocalEngine(checkpoint)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoint.model, "embed", listening)
            talk = Conversation((Turn("user", "What is in the picture?", (picture,)),))
            settings = GenerationSettings(temperature=0, max_new_tokens=NEW_TOKENS)
            events = list(engine.stream(talk, settings))
    finally:
        engine.close(grace_s=0)
    ids = asked[: prompt_tokens(events)]
    assert ids.count(checkpoint.model.config.image_token_id) == checkpoint.model.tokens_of(37, 20)
    done = events[-1]
    assert isinstance(done, Done), done
    assert done.token_ids == greedy(loaded, ids, picture)[: len(done.token_ids)]
    assert done.token_ids or done.finish == "stop"


def prompt_tokens(events: list[Event]) -> int:
    return next(event.prompt_tokens for event in events if isinstance(event, Looking))


def greedy(loaded: Loaded, ids: list[int], picture: Picture) -> tuple[int, ...]:
    """What transformers' model goes on with after the ids of our prompt."""
    token = loaded.checkpoint.model.config.image_token_id
    first, last = ids.index(token), len(ids) - ids[::-1].index(token)
    before, after = ids[:first], ids[last:]
    views, size = loaded.checkpoint.pixels(picture), (picture.width, picture.height)
    written: list[int] = []
    for _ in range(NEW_TOKENS):
        scores = logits(loaded.twin, before, views, size, [*after, *written])[0, -1]
        suppressed = loaded.checkpoint.suppressed_ids
        scores[[row for row in suppressed if 0 <= row < len(scores)]] = -torch.inf
        written.append(int(scores.argmax()))
    return tuple(written)


def test_what_it_says_of_itself(whole: Loaded) -> None:
    written, checkpoint = whole.written, whole.checkpoint
    config, row = checkpoint.model.config, whole.written.row
    if row.template is not None:
        assert checkpoint.template == row.template
    assert (checkpoint.pixels.aspect, config.image_aspect) == (row.aspect, row.aspect)
    assert config.projector == row.projector
    assert [list(pinpoint) for pinpoint in config.grid_pinpoints] == written.grid
    assert type(config.text) is type(written.text)
    assert type(config.vision) is type(written.vision)
    theirs, ours = written.text.to_dict(), config.text.to_dict()
    for name in ("vocab_size", "num_key_value_heads", "rms_norm_eps", "max_position_embeddings",
                 "rope_parameters", "tie_word_embeddings", "sliding_window"):  # fmt: skip
        assert ours.get(name) == theirs.get(name), name
    theirs, ours = written.vision.to_dict(), config.vision.to_dict()
    for name in ("hidden_act", "image_size", "layer_norm_eps", "patch_size"):
        assert ours[name] == theirs[name], name


def test_its_tokenizer(whole: Loaded) -> None:
    theirs, ours = whole.written.tokenizer, whole.checkpoint.tokenizer
    text = "What is in the picture? A large red circle."
    assert ours(text).input_ids == theirs(text).input_ids
    assert ours.get_vocab() == theirs.get_vocab()
    assert (ours.bos_token, ours.eos_token) == (theirs.bos_token, theirs.eos_token)


def test_every_weight_is_the_one_written(whole: Loaded) -> None:
    parts, compared = whole.written.parts, 0
    for name, weight in whole.checkpoint.model.state_dict().items():
        part, _, rest = name.partition(".")
        if part == "tower":
            expected = parts.tower[rest.partition(".")[2]]
        elif part == "projector":
            expected = parts.projector[rest]
        elif part == "language_model":
            expected = parts.words[rest]
        else:
            assert part == "image_newline"
            assert parts.newline is not None
            expected = parts.newline
        assert torch.equal(weight, expected), name
        compared += 1
    # All but the tower's layers behind the one that is read.
    everything = len(parts.words) + len(parts.projector) + (parts.newline is not None)
    unread = 0 if whole.written.row.siglip else 16
    assert compared >= everything + len(parts.tower) - unread - 2


def test_logits_equal_transformers(whole: Loaded) -> None:
    for size in SIZES if whole.written.row.anyres else SIZES[:6]:
        check_logits(whole, size)


def test_a_chat_turn(whole: Loaded) -> None:
    check_reply(whole)


def test_logits_on_a_base_equal_transformers(on_a_base: Loaded) -> None:
    for size in ((37, 20), (24, 72)):
        check_logits(on_a_base, size)


def test_a_chat_turn_on_a_base(on_a_base: Loaded) -> None:
    wanted = on_a_base.written.row.template or "llava_v1"  # it may add the marks of a picture
    assert on_a_base.checkpoint.template.startswith(wanted)
    check_reply(on_a_base)


@pytest.mark.parametrize("layout", ["hf", "original"])
def test_deltas_become_a_model(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_delta(tmp_path)
    use_cache(monkeypatch, written.hub)
    whole, named = tmp_path / "made", ["--base", str(written.base), "--template", "llava_v1"]
    assert main(["convert", str(written.folder), str(whole), "--layout", layout, *named]) == 0
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))  # needs no more
    loaded = made(replace(written, folder=whole))
    assert loaded.checkpoint.template.startswith("llava_v1")
    check_logits(loaded, (37, 20))
    check_reply(loaded)


@pytest.mark.parametrize("row", V1, ids=lambda row: row.label)
def test_a_template_that_nothing_tells_must_be_named(
    row: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLaVA v1 was trained with several, and its files are the same."""
    written = write(row, tmp_path / "model", tmp_path / "hub")
    use_cache(monkeypatch, written.hub)
    with pytest.raises(CheckpointError, match="--template") as error:
        load(written, None)
    assert "\n" not in str(error.value)
    assert load(written, "llava_v0").template.startswith("llava_v0")


def test_marks_stand_around_a_picture_where_they_did_in_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mm_use_im_start_end, as LLaVA v1's first models have it."""
    written = write(V1[0], tmp_path / "model", tmp_path / "hub")
    use_cache(monkeypatch, written.hub)
    checkpoint = load(written, "llava_v1")
    ids: list[int] = []
    embed = checkpoint.model.embed

    def listening(asked: torch.Tensor, features: torch.Tensor | None = None) -> torch.Tensor:
        ids.extend(asked.flatten().tolist())
        return embed(asked, features)

    monkeypatch.setattr(checkpoint.model, "embed", listening)
    engine = LocalEngine(checkpoint)
    try:
        talk = Conversation((Turn("user", "What is it?", (noise((20, 20)),)),))
        list(engine.stream(talk, GenerationSettings(temperature=0, max_new_tokens=1)))
    finally:
        engine.close(grace_s=0)
    token = checkpoint.model.config.image_token_id
    first, count = ids.index(token), ids.count(token)
    around = [ids[first - 1], ids[first + count]]
    assert checkpoint.tokenizer.convert_ids_to_tokens(around) == ["<im_start>", "<im_end>"]


@torch.no_grad()
def test_in_8_bits_it_sees_the_same_and_says_nearly_the_same(whole: Loaded) -> None:
    """Of every language model: LLaMA's, Mistral's and Qwen2's layers, and no other, are rounded."""
    pytest.importorskip("bitsandbytes", reason="pip install bitsandbytes")
    sources = find_sources(str(whole.written.folder), Search(download=False))
    rounded = load_model(
        sources, device=torch.device("cpu"), dtype=torch.float32, quantization=Quantization(8)
    )
    assert bits_of(rounded) == 8
    exact, picture = whole.checkpoint.model, noise((37, 20))
    views = whole.checkpoint.pixels(picture)
    rows = exact.picture_rows(views, 37, 20)
    assert torch.equal(rounded.picture_rows(views, 37, 20), rows)
    ids = torch.tensor([[*BEFORE, *[exact.config.image_token_id] * rows.shape[0], *AFTER]])
    wanted, found = (model(model.embed(ids, rows)) for model in (exact, rounded))
    assert 1e-4 < float((found - wanted).norm() / wanted.norm()) < 0.1


def test_a_template_that_is_asked_for_has_the_marks_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the command line, where the conversation might have named the one without."""
    written = write(V1[0], tmp_path / "model", tmp_path / "hub")
    use_cache(monkeypatch, written.hub)
    arguments = ["--model", str(written.folder), "--template", "llava_v1", "--device", "cpu"]
    assert main(["chat", *arguments, "--message", "Hi", "--max-new-tokens", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["template"] == "llava_v1_im_start_end"
