"""The README's five commands, from captions to a model that chats, on the bundled shapes."""

from __future__ import annotations

import base64
import json
import random
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from transformers import CLIPVisionConfig, CLIPVisionModel

from llava_chat.__main__ import main
from llava_chat.model.checkpoint import load_checkpoint
from llava_chat.training.scenes.draw import draw_scene
from llava_chat.training.scenes.wording import brief_description
from llava_chat.training.scenes.world import CORE, random_scene
from tests.training.generation.conftest import make_model
from tests.training.generation.model import Model

ROOT = Path(__file__).parent.parent
SECTION = "## From captions to a LLaVA of your own"
PICTURES = 28

__all__ = ["make_model"]  # the fixture


def commands() -> list[list[str]]:
    """The section's commands, as their words."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split(SECTION)[1]
    found = re.search(r"```bash\n(.*?)```", text, re.DOTALL)
    assert found is not None
    lines = found[1].replace("\\\n", " ").splitlines()
    return [shlex.split(line.removeprefix("llava-chat ")) for line in lines]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands are run: pictures with captions and boxes, a language model, a tower."""
    monkeypatch.chdir(tmp_path)
    bundled = load_checkpoint("scenes", device="cpu", dtype="float32")
    bundled.model.language_model.save_pretrained("words")
    bundled.tokenizer.save_pretrained("words")
    config = bundled.model.tower.config
    assert isinstance(config, CLIPVisionConfig)
    tower = CLIPVisionModel(config)
    left = tower.load_state_dict(bundled.model.tower.vision.state_dict(), strict=False)
    assert not left.unexpected_keys
    tower.save_pretrained("tower")
    (tmp_path / "pictures").mkdir()
    rows = []
    for number in range(PICTURES):
        rng = random.Random(number)
        scene = random_scene(rng, CORE)
        draw_scene(scene, rng).save(f"pictures/{number}.png")
        boxes = [
            {"category": item.shape, "bbox": [*scene.box_shares(item)]} for item in scene.objects
        ]
        rows.append(
            {
                "id": str(number),
                "image": f"{number}.png",
                "captions": [brief_description(scene)],
                "instances": boxes,
            }
        )
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "captions.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path


@contextmanager
def serving(words: list[str]) -> Iterator[str]:
    """The address of a server that these words start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llava_chat", *words, "--port", str(port), "--device", "cpu"]
    quiet = subprocess.DEVNULL
    running = subprocess.Popen(command, cwd=ROOT, stdout=quiet, stderr=quiet)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(60)


def loss_at(output: Path, step: int) -> float:
    lines = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return float(json.loads(lines[step])["loss"])


def test_five_commands_lead_from_captions_to_a_chat(
    folder: Path, make_model: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, generate, align, finetune, serve = commands()
    model = make_model()
    here = {
        "lmsys/vicuna-7b-v1.5": "words",
        "openai/clip-vit-large-patch14-336": "tower",
        "http://127.0.0.1:8000/v1": model.url,
        "Qwen/Qwen3-32B": "writer",
    }
    small = shlex.split("--device cpu --batch-size 8 --lr 0.002 --workers 0")
    for words in (
        begin,
        generate,
        [*align, *small, "--epochs", "15"],
        [*finetune, *small, "--epochs", "1"],
    ):
        assert main([here.get(word, word) for word in words]) == 0
    assert loss_at(folder / "aligned", -1) < 0.7 * loss_at(folder / "aligned", 0)
    picture = base64.b64encode((folder / "pictures" / "0.png").read_bytes()).decode()
    content: Any = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
        {"type": "text", "text": "What is in the picture?"},
    ]
    served = [str(folder / word) if word == "mine" else word for word in serve]
    with (
        serving([*served, "--data-dir", str(folder / "kept")]) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=60, timeout=60) as client,
    ):
        assert [each.id for each in client.models.list()] == ["mine"]
        reply = client.chat.completions.create(
            model="mine", messages=[{"role": "user", "content": content}], max_tokens=20
        )
    assert (reply.choices[0].message.content or "").strip()
