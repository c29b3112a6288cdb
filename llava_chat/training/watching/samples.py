"""What the model says now to a few rows that it does not learn from, beside what the data say.

Imports torch, `model`, `tokens`, `conversation`, `image` and progress.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llava_chat.conversation import Conversation
from llava_chat.errors import UsageError
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.tokens import end_ids, end_text, tokenize
from llava_chat.training.watching.progress import Progress

FILE_NAME = "samples.md"
PICTURES_FOLDER = "samples"
_PICTURE_PX, _JPEG_QUALITY = 384, 85
_USUAL, _USUAL_SHARE = 4, 0.01


@dataclass(frozen=True)
class Sample:
    """A row to ask about. name: of the row. question: ends with a message. expected: the data's."""

    name: str
    question: Conversation
    expected: str

    @classmethod
    def of(cls, name: str, conversation: Conversation) -> Sample:
        """The first question of a conversation, and its answer."""
        question = Conversation(
            conversation.turns[:1], system=conversation.system, template=conversation.template
        )
        return cls(name, question, conversation.turns[1].text)


def hold_out(rows: int, count: int | None) -> tuple[tuple[int, ...], np.ndarray]:
    """(the rows to ask about, all others in order), the former spread evenly over the data.

    count: of the rows to ask about; None is four, but no more than a hundredth of all. Raises
    UsageError when nothing would be left to learn from.

    >>> held, learned = hold_out(6, 2)
    >>> held, learned.tolist()
    ((1, 4), [0, 2, 3, 5])
    >>> hold_out(90, None)[0], hold_out(665_000, None)[0][:2]
    ((), (83125, 249375))
    """
    if count is None:
        count = min(_USUAL, int(rows * _USUAL_SHARE))
    if count >= rows > 0:
        raise UsageError(f"--samples {count} leaves none of {rows} rows to learn from")
    held = tuple((2 * number + 1) * rows // (2 * count) for number in range(count))
    return held, np.setdiff1d(np.arange(rows), np.array(held, np.int64), assume_unique=True)


class SampleReplies:
    """A Watcher that asks the model in training at each checkpoint, and writes samples.md there.

    Replies are greedy; nothing of the model, of its modes, or of any random state is changed.
    template: that of the stage, as `plain`. bf16: replies are computed as the loop computes.
    Where the weights are shared out over processes (FSDP, ZeRO-3), every process has to call
    `ask` just before the first one's `saving`, as one alone cannot run the model.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        samples: Sequence[Sample],
        output: Path,
        *,
        template: str,
        bf16: bool,
        max_new_tokens: int = 128,
    ) -> None:
        self._checkpoint, self._samples, self._output = checkpoint, tuple(samples), output
        self._template, self._bf16, self._most = template, bf16, max_new_tokens
        self._asked: list[str] | None = None

    def step(self, progress: Progress) -> None:
        """Forget the replies of the model that was."""
        self._asked = None

    def saving(self, step: int, folder: Path) -> None:
        """Write the file, and the pictures that it shows, to the checkpoint and the output."""
        replies = self.ask()
        for each in {folder, self._output}:
            pictures = _write_pictures(self._samples, each)
            text = told(step, self._samples, replies, pictures)
            (each / FILE_NAME).write_text(text, encoding="utf-8")

    def end(self) -> None:
        """Nothing: replies are those of checkpoints."""

    def ask(self) -> list[str]:
        """The replies of the model as it is after the newest step, each asked for once."""
        if self._asked is None:
            device = next(self._checkpoint.model.projector.parameters()).device
            computed = torch.autocast(device.type, torch.bfloat16, enabled=self._bf16)
            with undisturbed(self._checkpoint.model, device), torch.no_grad(), computed:
                self._asked = [self._reply(each.question) for each in self._samples]
        return self._asked

    def _reply(self, question: Conversation) -> str:
        try:
            return greedy_reply(self._checkpoint, question, self._template, self._most)
        except torch.OutOfMemoryError:  # the training itself fits
            torch.cuda.empty_cache()
            return "(There was no memory left for a reply.)"


@contextmanager
def undisturbed(model: torch.nn.Module, device: torch.device) -> Iterator[None]:
    """The model to be asked; each of its parts in the mode that it was in afterwards.

    Random numbers go on as if nobody had drawn any.
    """
    training = [part for part in model.modules() if part.training]
    devices = [device] if device.type == "cuda" else []
    model.eval()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for part in training:
            part.training = True


def greedy_reply(
    checkpoint: Checkpoint, question: Conversation, template: str, max_new_tokens: int
) -> str:
    """The reply of the model in memory, by transformers' own `generate`. It has to be in eval mode.

    Raises what reading a picture raises.
    """
    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    prompt = tokenize(
        question,
        tokenizer,
        template=template,
        picture_tokens=lambda picture: model.tokens_of(picture.width, picture.height),
        image_token_id=model.config.image_token_id,
    )
    room = (model.config.text.max_position_embeddings or math.inf) - len(prompt.ids)
    if room < 1:
        return "(The question does not fit the model's context.)"
    device = next(model.projector.parameters()).device
    rows: list[Tensor] = [
        model.picture_rows(
            checkpoint.pixels(span.picture).to(device), span.picture.width, span.picture.height
        )
        for span in prompt.spans
    ]
    embeds = model.embed(
        torch.tensor([prompt.ids], device=device), torch.cat(rows) if rows else None
    )
    decoder: Any = model.language_model
    ids: Tensor = decoder.generate(
        inputs_embeds=embeds,
        attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long, device=device),
        do_sample=False,
        max_new_tokens=int(min(max_new_tokens, room)),
        eos_token_id=sorted(end_ids(tokenizer, template)),
        pad_token_id=0,
        suppress_tokens=list(checkpoint.suppressed_ids) or None,
    )[0]
    text = str(tokenizer.decode(ids.tolist(), skip_special_tokens=True))
    end = end_text(tokenizer, template)
    return (text.split(end)[0] if end else text).strip()


def _write_pictures(samples: Sequence[Sample], folder: Path) -> list[str | None]:
    """A small copy of each sample's picture; its place from `folder` on, None without one."""
    places: list[str | None] = []
    for number, sample in enumerate(samples, 1):
        pictures = sample.question.turns[0].images
        places.append(f"{PICTURES_FOLDER}/{number}.jpg" if pictures else None)
        if pictures:
            small = pictures[0].rgb().copy()
            small.thumbnail((_PICTURE_PX, _PICTURE_PX))
            (folder / PICTURES_FOLDER).mkdir(exist_ok=True)
            small.save(folder / PICTURES_FOLDER / f"{number}.jpg", quality=_JPEG_QUALITY)
    return places


def told(
    step: int,
    samples: Sequence[Sample],
    replies: Sequence[str],
    pictures: Sequence[str | None],
) -> str:
    """samples.md: the rows one after the other."""
    parts = [f"# Replies after step {step}", "Greedy, to rows that were not learned from."]
    for sample, reply, picture in zip(samples, replies, pictures, strict=True):
        parts.append(f"## {plain(sample.name)}")
        if picture:
            parts.append(f"![the picture]({picture})")
        asked = sample.question.turns[-1].text.strip()
        parts += [f"Asked:\n\n{fenced(asked)}"] if asked else []
        parts += [f"The model:\n\n{fenced(reply)}", f"The data:\n\n{fenced(sample.expected)}"]
    return "\n\n".join(parts) + "\n"


def fenced(text: str) -> str:
    """Text that Markdown leaves as it is, whatever it holds.

    >>> print(fenced("a ``` b"))
    ````text
    a ``` b
    ````
    """
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def plain(text: str) -> str:
    """One line that is no Markdown and no HTML.

    >>> plain("a_b.json, row 3 <b>")
    'a\\\\_b.json, row 3 \\\\<b\\\\>'
    """
    return re.sub(r"([\\`*_{}\[\]<>#|!&])", r"\\\1", " ".join(text.split()))
