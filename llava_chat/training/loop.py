"""One training loop for every stage, in one process or several: accumulate, agree, step, save.

The loss of a step is the mean over everything that is learned in it, however it is cut into parts
and shared out: a part counts by its weight, such as its labelled tokens. Imports torch, the
modules of training that begin a run, save it and watch it, and errors.
"""

from __future__ import annotations

import contextlib
import math
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llava_chat.errors import LlavaChatError
from llava_chat.training.checkpoints import Checkpoints
from llava_chat.training.optimisers import optimisers_for, set_rates
from llava_chat.training.processes import Processes
from llava_chat.training.saving import resume, save
from llava_chat.training.schedule import LoopOptions, learning_rate_share
from llava_chat.training.termination import termination
from llava_chat.training.watching.lines import Lines
from llava_chat.training.watching.progress import Watcher
from llava_chat.training.watching.reporting import Reporter

Losses = Mapping[str, Tensor]
"""Scalars, means over a part; `loss` is followed down. `rows`, if it is there, is no figure: (B,),
for each sample whether its own loss is a number."""

_MOST_NAMED = 8


@dataclass(frozen=True)
class Contents:
    """What a part of a step holds.

    weight: how much it counts among the others. tokens: read, padding left out. names: of its
    samples. skipped: of those that were left out.
    """

    weight: float = 1.0
    tokens: int = 0
    names: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """Where a run is: in which processes, who watches, how many parts of a step come in a row."""

    processes: Processes = field(default_factory=Processes)
    watchers: Sequence[Watcher] | None = None
    parts: int = 1
    micro_batch_size: int = 1


def train(
    name: str,
    modules: nn.Module,
    loss_of: Callable[[Any], Losses],
    batches_from: Callable[[int], Iterator[Any]],
    options: LoopOptions,
    folder: Path,
    *,
    contents_of: Callable[[Any], Contents] = lambda _: Contents(),
    setting: Setting | None = None,
) -> dict[str, Tensor]:
    """Train the parameters of `modules` that want a gradient; return when all steps are done.

    Returns nothing but where no process holds all weights: then the first one gets them.

    batches_from(step) -> the parts from that step on, setting.parts a step. folder: of the run's
    checkpoints; when there is one already, the run goes on from it. contents_of(batch) -> what a
    part holds. Raises LlavaChatError on a loss that is no number, on a checkpoint that cannot be
    written, and when the one there is another run's; SystemExit after SIGTERM, once it is written.
    """
    run = _Run(name, modules, loss_of, contents_of, options, folder, setting or Setting())
    try:
        run.go(batches_from)
    except BaseException:
        with contextlib.suppress(LlavaChatError):  # what ends the run is what is told
            run.reporter.end()
        raise
    run.reporter.end()
    if not run.processes.sharded:
        return {}
    state = run.processes.whole_state(run.learner)
    return {name.removeprefix("learned."): weight for name, weight in state.items()}


class Learner(nn.Module):
    """What is trained, called with a batch for its losses: what several processes can wrap."""

    def __init__(self, modules: nn.Module, loss_of: Callable[[Any], Losses]) -> None:
        super().__init__()
        self.learned = modules
        self._loss_of = loss_of

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """The losses of one part."""
        return dict(self._loss_of(batch))


@dataclass
class _Step:
    """What this process learns from in a step, until its loss is known to be a number."""

    contents: list[Contents]
    rows: list[Tensor | None] = field(default_factory=list)

    def broken(self) -> list[str]:
        """The samples whose own loss is no number, as far as that is known."""
        return [
            name
            for held, rows in zip(self.contents, self.rows, strict=True)
            if rows is not None and len(rows) == len(held.names)  # else rows are of several
            for name, loss in zip(held.names, rows.tolist(), strict=True)
            if not math.isfinite(loss)
        ]

    def names(self) -> list[str]:
        """All of its samples."""
        return [name for held in self.contents for name in held.names]


@dataclass(frozen=True)
class _Parts:
    """Of a step in this process, and what the step is in all of them together."""

    parts: list[Any]
    contents: list[Contents]
    weight: float
    tokens: int
    samples: int


class _Run:
    """One run in one process."""

    def __init__(
        self,
        name: str,
        modules: nn.Module,
        loss_of: Callable[[Any], Losses],
        contents_of: Callable[[Any], Contents],
        options: LoopOptions,
        folder: Path,
        setting: Setting,
    ) -> None:
        self.name, self.options, self.setting = name, options, setting
        self.processes = setting.processes
        self._contents_of = contents_of
        self.modules = modules
        self.learner, self.optimisers = self.processes.wrap(
            Learner(modules, loss_of),
            optimisers_for(modules, options),
            clip_norm=options.clip_norm,
            micro_batch_size=setting.micro_batch_size,
            parts=setting.parts,
        )
        self.learned = [p for p in self.learner.parameters() if p.requires_grad]
        self.device = self.processes.device or self.learned[0].device
        self.checkpoints = Checkpoints(folder, options.keep)
        self.skipped = 0
        watchers = setting.watchers
        if watchers is None:
            watchers = [Lines(name, options.log_every)]
        self.reporter = Reporter(
            watchers if self.processes.first else (),
            options.steps,
            log_every=options.log_every,
            device=self.device,
        )
        self._steps: dict[int, _Step] = {}
        self._wrong: int | None = None

    def go(self, batches_from: Callable[[int], Iterator[Any]]) -> None:
        """From the newest checkpoint to the last step."""
        options = self.options
        done = saved = resume(self)
        batches = batches_from(done) if done < options.steps else iter(())
        with termination() as terminated:
            while done < options.steps:
                parts = self._fetched(batches, terminated)
                if parts is None:
                    if done > saved:
                        self._save(done)
                    if self.processes.first:
                        print(f"{self.name}: stopped after step {done}", file=sys.stderr)
                    raise SystemExit(128 + signal.SIGTERM)
                self._learn(done, parts)
                done += 1
                if done % options.save_every == 0 or done == options.steps:
                    self._save(done)
                    saved = done

    def _fetched(self, batches: Iterator[Any], terminated: Callable[[], bool]) -> _Parts | None:
        """The parts of the next step, with what they are to all processes; None to stop here.

        All processes come to the same: what one of them is told or cannot do, all know.
        """
        parts: list[Any] = []
        problem: LlavaChatError | None = None
        try:
            parts = [*islice(batches, self.setting.parts)]
        except LlavaChatError as error:
            problem = error
        held = [self._contents_of(part) for part in parts]
        weight, tokens, samples, skipped, stops, wrong, problems = self.processes.sums(
            (
                sum(each.weight for each in held),
                sum(each.tokens for each in held),
                sum(len(each.names) for each in held),
                sum(len(each.skipped) for each in held),
                terminated(),
                self._wrong is not None,
                problem is not None,
            )
        )
        if wrong:
            self._refuse()
        if problem is not None:
            raise problem
        if problems:
            raise LlavaChatError(f"{self.name}: stopped, because another process had to")
        if stops:  # the run that goes on fetches these again, and counts what they lack
            return None
        self.skipped += int(skipped)
        return _Parts(parts, held, weight, int(tokens), int(samples))

    def _learn(self, number: int, parts: _Parts) -> None:
        """One step down the gradient of all parts of all processes."""
        if not parts.weight:  # every sample was left out
            return
        share = learning_rate_share(number, self.options.steps, self.options.warmup_share)
        rates = set_rates(self.optimisers, share)
        sums: dict[str, Tensor] = {}
        step = self._steps[number + 1] = _Step(parts.contents)
        for place, (part, held) in enumerate(zip(parts.parts, parts.contents, strict=True), 1):
            counts, last = held.weight / parts.weight, place == len(parts.parts)
            with self.processes.holding(self.learner, last=last):
                with self.processes.autocast(self.device, self.options.bf16):
                    losses = self.learner(part)
                self.processes.backward(self.learner, losses["loss"] * counts, last=last)
            step.rows.append(losses.pop("rows", None))
            for key, value in losses.items():
                sums[key] = sums.get(key, 0.0) + value.detach() * counts
        norm = self.processes.clip(self.learner, self.learned, self.options.clip_norm)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        figures = torch.stack([*sums.values()]).float()
        self.processes.add_up(figures)
        self._wrong = self.reporter.step(
            number + 1,
            dict(zip(sums, figures, strict=True)),
            norm,
            rates,
            tokens=parts.tokens,
            samples=parts.samples,
            skipped=self.skipped,
        )
        if self._wrong is None and not self.reporter.pending:
            self._steps.clear()

    def _refuse(self) -> None:
        """Raise LlavaChatError with the first step whose loss is no number, and its samples."""
        wrong = self._wrong if self._wrong is not None else self.reporter.tell()
        assert wrong is not None  # figures are of all processes together, the same in each
        step, texts = self._steps[wrong], self.processes.texts
        names = texts(step.broken()) or texts(step.names())
        raise LlavaChatError(not_a_number(self.name, wrong, [*dict.fromkeys(names)]))

    def _save(self, done: int) -> None:
        """Write the checkpoint, unless what was learned is no number any more."""
        if self._wrong is None:
            self._wrong = self.reporter.tell()
        if self._wrong is not None:
            self._refuse()
        self._steps.clear()
        save(self, done)


def not_a_number(name: str, step: int, samples: Sequence[str]) -> str:
    """The sentence about a loss that is none.

    >>> not_a_number("align", 6, ())
    'align: the loss is not a number at step 6'
    >>> not_a_number("align", 6, ("a.json, row 3", "a.json, row 8"))
    'align: the loss is not a number at step 6, which learns from a.json, row 3; a.json, row 8'
    """
    sentence = f"{name}: the loss is not a number at step {step}"
    if not samples:
        return sentence
    more = f" and {len(samples) - _MOST_NAMED} more" if len(samples) > _MOST_NAMED else ""
    return f"{sentence}, which learns from {'; '.join(samples[:_MOST_NAMED])}{more}"
