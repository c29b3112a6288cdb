"""Less usual adapters: put on a model as peft has them, and merged into it to the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llava_chat.__main__ import main
from llava_chat.model.layouts.names import HEAD, WORDS
from tests.model.published.adapters import ALPHA, RANK, write_peft
from tests.model.published.copies import edit_json
from tests.model.published.layouts import Written
from tests.model.published.rows import OTHERS, V1_5, Row
from tests.model.test_published import AFTER, BEFORE, check_logits, load, made, noise, use_cache

# peft, of an adapter that changes one of two tied tables.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Model (has|with) `tie_word_embeddings=True`",
    "ignore:Input and output embeddings are no longer tied",
)

VICUNA, QWEN = V1_5[2], OTHERS[1]
LAYERS = r".*language_model.*\.(q|v|o|up|down)_proj"
IN_HALVES = 0.01
"""Logits of weights that were rounded to float16 after the sum; a wrong one changes them by 1."""

CHANGED: dict[str, tuple[Row, dict[str, Any]]] = {
    "dora": (VICUNA, {"target_modules": LAYERS, "use_dora": True}),
    "one-louder-layer": (
        VICUNA,
        {
            "target_modules": LAYERS,
            "alpha_pattern": {"^model.language_model.layers.0.self_attn.q_proj": 64},
        },
    ),
    "biases": (QWEN, {"target_modules": LAYERS, "bias": "all"}),
    "head": (VICUNA, {"target_modules": ["lm_head", "q_proj"]}),
    "tables": (VICUNA, {"target_modules": LAYERS, "modules_to_save": ["embed_tokens", "lm_head"]}),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_put_on_and_merged(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row, trained = CHANGED[kind]
    written = write_peft(tmp_path, row, names="5", trained=trained)
    use_cache(monkeypatch, written.hub)
    check_logits(made(written), (37, 20))
    assert (logits(written) - logits(merged(written, tmp_path / "whole"))).abs().max() < IN_HALVES


def test_words_read_by_another_table_than_they_were_tied_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = {"target_modules": LAYERS, "modules_to_save": ["embed_tokens"]}
    written = write_peft(tmp_path, QWEN, names="5", trained=trained)
    use_cache(monkeypatch, written.hub)
    for each in (written, merged(written, tmp_path / "whole")):
        tables = load(each, None).model.state_dict()
        for name in (WORDS, HEAD):
            expected = written.parts.words[name.removeprefix("language_model.")]
            assert torch.allclose(tables[name], expected, atol=0.005), name
        assert (tables[WORDS] - tables[HEAD]).abs().max() > 0.1


def test_the_head_of_a_tied_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It alone changes; peft's merge_and_unload would change how words are read as well."""
    written = write_peft(tmp_path, QWEN, names="5", trained={"target_modules": ["lm_head"]})
    use_cache(monkeypatch, written.hub)
    whole = merged(written, tmp_path / "whole")
    assert (logits(written) - logits(whole)).abs().max() < IN_HALVES
    tables = load(whole, None).model.state_dict()
    lora = load(written, None).model.state_dict()
    head = HEAD.removesuffix(".weight")
    up, down = (lora[f"{head}.lora_{each}.default.weight"] for each in "BA")
    assert torch.equal(tables[WORDS], lora[WORDS])
    assert torch.allclose(tables[HEAD], lora[WORDS] + ALPHA / RANK * up @ down, atol=0.005)


@pytest.mark.parametrize(
    ("field", "value"),
    [("init_lora_weights", "pissa_niter_4"), ("alora_invocation_tokens", [5]),
     ("target_parameters", ["q_proj.weight"])],
)  # fmt: skip
def test_what_two_matrices_do_not_tell(
    field: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    written = write_peft(tmp_path, VICUNA, names="5", trained={"target_modules": LAYERS})
    use_cache(monkeypatch, written.hub)
    path = written.folder / "adapter_config.json"
    edit_json(path, lambda content: content.update({field: value}))
    assert main(["inspect", str(written.folder)]) == 1
    assert f"uses {field}" in capsys.readouterr().err


def merged(written: Written, target: Path) -> Written:
    """The adapter in its model, in one folder."""
    assert main(["convert", str(written.folder), str(target), "--layout", "hf"]) == 0
    return replace(written, folder=target)


@torch.no_grad()
def logits(written: Written) -> torch.Tensor:
    """Ours, of a prompt with a picture."""
    checkpoint = load(written, None)
    model, picture = checkpoint.model, noise((37, 20))
    rows = model.picture_rows(checkpoint.pixels(picture), picture.width, picture.height)
    image_token_id = model.config.image_token_id
    ids = torch.tensor([[*BEFORE, *[image_token_id] * len(rows), *AFTER]])
    found: torch.Tensor = model(model.embed(ids, rows))
    return found
