"""An adapter is chosen for a chat, by keyboard alone, on a page that was open before it came."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import expect

from llava_chat.model.checkpoint import Checkpoint
from llava_chat.training.adapter.lora import Lora, put_on, save_adapter
from tests.browser.conftest import CONTEXT_TOKENS, SLOW_LAYERS, Chat, Server


@pytest.fixture
def adapters(server: Server) -> Iterator[Path]:
    """Where the running server looks for adapters; there are none yet."""
    folder = server.folder / "data" / "adapters"
    yield folder
    shutil.rmtree(folder)


def write(folder: Path, checkpoint: Checkpoint, seed: int) -> None:
    put_on(checkpoint.model, Lora(2, 4), seed)
    torch.manual_seed(seed)
    for name, weight in checkpoint.model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn_like(weight)
    save_adapter(checkpoint.model, Lora(2, 4), folder, base="tiny")


def test_an_adapter_appears_and_answers(
    chat: Chat, adapters: Path, random_checkpoint: Callable[..., Checkpoint]
) -> None:
    page = chat.page
    chat.open()
    settings = page.get_by_role("button", name="Settings", exact=True)
    picker = page.get_by_role("combobox", name="Adapter")
    settings.press("Enter")
    expect(page.get_by_label("System message")).to_be_visible()
    expect(picker).not_to_be_visible()
    page.keyboard.press("Escape")
    for seed, name in enumerate(("crimson", "scarlet")):
        write(adapters / name, random_checkpoint(CONTEXT_TOKENS, layers=SLOW_LAYERS), seed)
    settings.press("Enter")
    expect(picker).to_be_visible()
    chat.ask("Hello")
    for name in ("crimson", "scarlet"):
        picker.press("ArrowDown")
        expect(page.get_by_role("option", name=name)).to_be_visible()
        picker.fill(name)
        picker.press("Enter")
        expect(picker).to_have_value(name)
        chat.ask("Hello")
    told = page.locator("#thread .facts").all_text_contents()
    assert [fact.split(" · ")[:2] for fact in told[1:]] == [
        ["tiny", "crimson"],
        ["tiny", "scarlet"],
    ]
    assert "token" in told[0].split(" · ")[1]
    assert len(set(chat.replies.all_text_contents())) == 3

    chat.reload()  # the chat goes on with the adapter that it had
    settings.press("Enter")
    expect(picker).to_have_value("scarlet")
    shutil.rmtree(adapters / "scarlet")
    chat.say("Hello")
    expect(page.locator("#notice")).to_contain_text("The adapter 'scarlet' is not here")
    expect(chat.messages).to_have_count(3)
