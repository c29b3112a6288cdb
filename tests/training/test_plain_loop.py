"""Held against a separate loop: transformers' own LLaVA, cross-entropy, AdamW, and no more."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional
from transformers import LlavaForConditionalGeneration

from llava_chat.__main__ import main
from llava_chat.image import read_picture
from llava_chat.model.checkpoint import load_checkpoint
from llava_chat.model.location import BUNDLED_FOLDER
from llava_chat.training.data import in_epochs

STEPS, BATCH_SIZE, LR, PROJECTOR_LR, CLIP_NORM, WARMUP = 10, 2, 2e-3, 2e-4, 1.0, 2
COLOURS = ("red", "blue", "green", "purple")
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)


def answer(number: int) -> str:
    return f"There is {'one ' * (number + 1)}{COLOURS[number]} circle."


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rows = tmp_path_factory.mktemp("plain"), []
    for number, colour in enumerate(COLOURS):
        Image.new("RGB", (144, 144), colour).save(folder / f"{colour}.png")
        asked = {"from": "human", "value": "<image>\nWhat is it?"}
        said = {"from": "gpt", "value": answer(number)}
        rows.append({"image": f"{colour}.png", "conversations": [asked, said]})
    (folder / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


def plain_losses(data: Path) -> list[float]:
    """The whole of training, written down once more."""
    known = load_checkpoint("scenes", device="cpu", dtype="float32")
    model = LlavaForConditionalGeneration.from_pretrained(BUNDLED_FOLDER, dtype=torch.float32)
    model.model.vision_tower.requires_grad_(False)
    projector = [*model.model.multi_modal_projector.parameters()]
    rest = [*model.model.language_model.parameters(), *model.lm_head.parameters()]
    optimiser = torch.optim.AdamW(
        [{"params": rest, "peak": LR}, {"params": projector, "peak": PROJECTOR_LR}],
        weight_decay=0.0,
    )
    pictures = [known.pixels(read_picture(data / f"{colour}.png")) for colour in COLOURS]
    rows = [tokens(known.tokenizer, number, model.config.image_token_id) for number in range(4)]
    row_of = in_epochs(len(COLOURS), 0)
    found: list[float] = []
    for step in range(STEPS):
        batch = [row_of(step * BATCH_SIZE + place) for place in range(BATCH_SIZE)]
        longest = max(len(rows[number][0]) for number in batch)
        ids = torch.zeros(BATCH_SIZE, longest, dtype=torch.long)
        labels = torch.full((BATCH_SIZE, longest), -100)
        for place, number in enumerate(batch):
            ids[place, : len(rows[number][0])] = torch.tensor(rows[number][0])
            labels[place, : len(rows[number][1])] = torch.tensor(rows[number][1])
        pixels = torch.cat([pictures[number] for number in batch])
        logits = model(input_ids=ids, pixel_values=pixels).logits
        loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*rest, *projector], CLIP_NORM)
        share = (step + 1) / WARMUP
        if step >= WARMUP:
            share = 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * share
        optimiser.step()
        found.append(loss.item())
    return found


def tokens(tokenizer: object, number: int, image_token_id: int) -> tuple[list[int], list[int]]:
    """(ids, labels) of a row in vicuna_v1; the answer and its end alone are learned."""

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False).input_ids)  # type: ignore[operator]

    before, after = ids(f"{SYSTEM} USER: "), ids("\nWhat is it? ASSISTANT:")
    asked = [1, *before, *[image_token_id] * 81, *after]
    said = [*ids(f" {answer(number)}"), 2]
    return asked + said, [-100] * len(asked) + said


def test_the_first_ten_losses_are_those_of_a_plain_loop(data: Path, tmp_path: Path) -> None:
    options = f"--batch-size {BATCH_SIZE} --epochs {STEPS * BATCH_SIZE / 4} --lr {LR}"
    words = f"{options} --projector-lr {PROJECTOR_LR} --warmup-share {WARMUP / STEPS} --samples 0"
    running = "--device cpu --precision float32 --workers 0 --micro-batch-size 1 --no-tensorboard"
    files = ("--data", str(data / "data.json"), "--images", str(data), "--output", str(tmp_path))
    told = f"train finetune --model scenes {words} {running} --recompute-layers 2".split()
    assert main([*told, *files]) == 0
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert losses == pytest.approx(plain_losses(data), rel=2e-5) and len(losses) == STEPS
    assert losses[-1] < 0.7 * losses[0]
