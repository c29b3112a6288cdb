"""The model card says what the run was and came to, and the Hub can read its fields."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from huggingface_hub import ModelCard

from llava_chat.training.watching.card import RunFigures, model_card, run_figures
from tests.training.watching.tiny_run import FACTS, Watched


def fields(card: str) -> dict[str, Any]:
    """What the Hub reads at the card's beginning."""
    data: Any = ModelCard(card).data
    found: dict[str, Any] = data.to_dict()
    return found


def test_a_real_run_is_told(watched: Watched) -> None:
    figures = run_figures(watched.output)
    text = model_card(FACTS, figures)
    assert fields(text) == {
        "base_model": "llava-hf/llava-1.5-7b-hf",
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["llava", "llava_chat"],
    }
    assert f"| loss at first (one step) | {watched.losses[1]:.4f} |" in text
    assert f"| loss at last (one step) | {watched.losses[12]:.4f} |" in text
    assert "| samples | 12 |" in text and "| tokens | 546 |" in text
    assert "](plot.svg)" in text and "- devices: 2 x CPU" in text and "- data path: a b" in text
    assert "### rows.jsonl, row 1" in text and "![the picture]" not in text
    assert "chat --model FOLDER --image PICTURE" in text
    assert "What it cannot do" in text and "stage 2 (`train finetune`)" not in text


@pytest.mark.parametrize("base", ["scenes", "/models/mine"])
def test_a_base_that_is_not_on_the_hub_is_no_field(base: str) -> None:
    text = model_card(replace(FACTS, base=base), None)
    assert "base_model" not in fields(text)
    assert f"# A model trained from `{base}`" in text and "## The run" not in text


def test_a_lora_is_run_on_its_base() -> None:
    text = model_card(replace(FACTS, adapter=True, data="liuhaotian/LLaVA-Instruct-150K"), None)
    data = fields(text)
    assert data["library_name"] == "peft" and "lora" in data["tags"]
    assert data["datasets"] == ["liuhaotian/LLaVA-Instruct-150K"]
    assert "--model llava-hf/llava-1.5-7b-hf --adapter FOLDER" in text
    assert "A LoRA adapter on the language model" in text


def test_stage_1_says_that_it_is_on_the_way() -> None:
    assert "not made to chat" in model_card(replace(FACTS, stage="align"), None)


def test_figures_are_means_of_the_ends_of_a_run() -> None:
    rows = [
        {"step": step, "loss": None if step == 1 else float(step), "tokens": 10, "samples": 2,
         "skipped": 3, "step_s": 0.5, "memory_bytes": step}
        for step in range(1, 101)
    ]  # fmt: skip
    figures = RunFigures.of(rows)
    assert (figures.near, figures.first_loss, figures.last_loss) == (2, 2.5, 99.5)
    assert (figures.tokens, figures.samples, figures.seconds) == (1000, 200, 50.0)
    assert (figures.steps, figures.skipped, figures.memory_bytes) == (100, 3, 100)
    assert "| loss at first (mean of 2 steps) | 2.5000 |" in model_card(FACTS, figures)
