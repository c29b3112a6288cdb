"""A real training of some steps, watched: the tiny model learns what two pictures show."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image

from llava_chat.conversation import Conversation, Turn
from llava_chat.image import picture_from_image
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.training.batch import collate, next_token_loss, token_sample
from llava_chat.training.watching.opening import watchers
from llava_chat.training.watching.progress import Progress, RunFacts, Watcher
from llava_chat.training.watching.samples import Sample, SampleReplies

STEPS, LOG_EVERY, SAVE_EVERY = 12, 4, 6
COLOURS = ("red", "blue")
FACTS = RunFacts(
    stage="finetune",
    recipe="",
    base="llava-hf/llava-1.5-7b-hf",
    base_revision="1",
    template="vicuna_v1",
    data="rows.jsonl",
    rows=2,
    steps=STEPS,
    devices=("CPU", "CPU"),
    settings={"lr": 0.01, "data path": "a\nb"},
)


def conversation_of(number: int) -> Conversation:
    colour = COLOURS[number % 2]
    picture = picture_from_image(Image.new("RGB", (30, 20), colour))
    asked = Turn("user", "What is it?", (picture,))
    return Conversation((asked, Turn("assistant", f"A large {colour} circle.")))


SAMPLES = [Sample.of(f"rows.jsonl, row {number}", conversation_of(number)) for number in (0, 1)]


@dataclass
class Watched:
    """A run that wrote to a folder; its losses by step, and all that moved in it."""

    output: Path
    checkpoint: Checkpoint
    lines: str
    losses: Mapping[int, float] = field(default_factory=dict)


@dataclass
class Runner:
    """Trains with AdamW and dropout, and can go on from what it left at a checkpoint."""

    new_checkpoint: Callable[[], Checkpoint]

    def __call__(
        self,
        output: Path,
        *,
        stop: int = STEPS,
        resumed: bool = False,
        sampled: bool = True,
        watched: bool = True,
        stream: io.StringIO | None = None,
    ) -> Watched:
        output.mkdir(exist_ok=True)
        state_file, stream = output / "state.pt", stream or io.StringIO()
        checkpoint = self.new_checkpoint()
        model = checkpoint.model
        model.language_model.model.config.attention_dropout = 0.1
        for layer in model.language_model.model.layers:
            layer.self_attn.attention_dropout = 0.1  # random numbers are drawn by every step
        torch.manual_seed(7)
        optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
        first = 1
        if resumed:
            state = torch.load(state_file, weights_only=True)
            model.load_state_dict(state["model"])
            optimiser.load_state_dict(state["optimiser"])
            torch.set_rng_state(state["random"])
            first = state["step"] + 1
        model.train()
        model.tower.eval()
        replies = SampleReplies(
            checkpoint, SAMPLES, output, template="vicuna_v1", bf16=False, max_new_tokens=8
        )
        seen = watchers(
            FACTS,
            output,
            log_every=LOG_EVERY,
            samples=replies if sampled else None,
            stream=stream,
        )
        seen = seen if watched else []
        losses: dict[int, float] = {}
        try:
            for step in range(first, stop + 1):
                losses[step] = self._learn(checkpoint, optimiser, step, seen)
                if step % SAVE_EVERY == 0:
                    folder = output / f"step-{step}"
                    folder.mkdir(exist_ok=True)
                    for watcher in seen:
                        watcher.saving(step, folder)
                    random = torch.get_rng_state()
                    state = {"step": step, "model": model.state_dict(), "random": random}
                    torch.save({**state, "optimiser": optimiser.state_dict()}, state_file)
        finally:
            for watcher in seen:
                watcher.end()
        return Watched(output, checkpoint, stream.getvalue(), losses)

    def _learn(
        self,
        checkpoint: Checkpoint,
        optimiser: torch.optim.Optimizer,
        step: int,
        seen: list[Watcher],
    ) -> float:
        model = checkpoint.model
        sample = token_sample(
            conversation_of(step),
            checkpoint.tokenizer,
            template="vicuna_v1",
            tokens_per_picture=model.tokens_per_picture,
            image_token_id=model.config.image_token_id,
            pixels=lambda picture: checkpoint.pixels(picture).numpy(),
            max_tokens=200,
        )
        batch = collate([sample])
        assert batch.pixels is not None
        embeds = model.embed(batch.ids, model.image_features(batch.pixels))
        hidden = model.language_model.model(inputs_embeds=embeds, use_cache=False)
        head = model.language_model.lm_head
        loss = next_token_loss(hidden.last_hidden_state, batch.labels, head)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        progress = Progress(
            step=step,
            steps=STEPS,
            losses={"loss": loss.item()},
            learning_rates={"language model": 0.01, "projector": 0.02},
            gradient_norm=norm.item(),
            tokens=len(sample.ids),
            samples=1,
            skipped=step // 8,
            step_s=0.25,
            memory_bytes=10**9,
        )
        for watcher in seen:
            watcher.step(progress)
        return loss.item()
