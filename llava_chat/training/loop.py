"""One training loop for every stage, in one process or several: accumulate, agree, step, save.

The loss of a step is the mean over everything that is learned in it, however it is cut into parts
and shared out: a part counts by its weight, such as its labelled tokens. Imports torch, the
modules of training that begin a run, save it and watch it, and errors.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llava_chat.errors import LlavaChatError
from llava_chat.training.checkpoints import Checkpoints
from llava_chat.training.figures import Figures, Reader
from llava_chat.training.optimisers import optimisers_for, set_rates
from llava_chat.training.processes import Processes
from llava_chat.training.saving import resume, save
from llava_chat.training.schedule import LoopOptions, learning_rate_share
from llava_chat.training.termination import termination
from llava_chat.training.watching.lines import Lines
from llava_chat.training.watching.progress import Progress, Watcher

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
) -> None:
    """Train the parameters of `modules` that want a gradient; return when all steps are done.

    batches_from(step) -> the parts from that step on, setting.parts a step. folder: of the run's
    checkpoints; when there is one already, the run goes on from it. contents_of(batch) -> what a
    part holds. Raises LlavaChatError on a loss that is no number, on a checkpoint that cannot be
    written, and when the one there is another run's; SystemExit after SIGTERM, once it is written.
    """
    run = _Run(name, modules, loss_of, contents_of, options, folder, setting or Setting())
    try:
        run.go(batches_from)
    finally:
        for watcher in run.watchers:
            watcher.end()


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
    """What is known of a step before its figures have come from the device."""

    contents: list[Contents]
    tokens: int
    samples: int
    rates: dict[str, float] = field(default_factory=dict)
    rows: list[Tensor | None] = field(default_factory=list)

    def broken(self) -> list[str]:
        """The samples without a finite loss, or all when there is none, or nobody knows."""
        bad = [
            name
            for held, rows in zip(self.contents, self.rows, strict=True)
            if rows is not None and len(rows) == len(held.names)  # else rows are of several
            for name, loss in zip(held.names, rows.tolist(), strict=True)
            if not math.isfinite(loss)
        ]
        return list(dict.fromkeys(bad or [name for held in self.contents for name in held.names]))


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
        self.watchers = self._watchers(setting.watchers)
        self._contents_of = contents_of
        self.modules = modules
        self.learner, self.optimisers = self.processes.wrap(
            Learner(modules, loss_of),
            optimisers_for(modules, options),
            clip_norm=options.clip_norm,
            micro_batch_size=setting.micro_batch_size,
        )
        self.learned = [p for p in self.learner.parameters() if p.requires_grad]
        self.device = self.processes.device or self.learned[0].device
        self.checkpoints = Checkpoints(folder, options.keep)
        self.skipped = 0
        self._reader = Reader(self.device)
        self._steps: dict[int, _Step] = {}
        self._told_at = time.monotonic()

    def _watchers(self, given: Sequence[Watcher] | None) -> Sequence[Watcher]:
        if not self.processes.first:
            return ()
        return (Lines(self.name, self.options.log_every),) if given is None else given

    def go(self, batches_from: Callable[[int], Iterator[Any]]) -> None:
        """From the newest checkpoint to the last step."""
        options = self.options
        done = saved = resume(self)
        batches = batches_from(done) if done < options.steps else iter(())
        with termination() as terminated:
            while done < options.steps:
                batch = self._fetched(batches, terminated)
                if batch is None:
                    if done > saved:
                        self._save(done)
                    print(f"{self.name}: stopped after step {done}", file=sys.stderr, flush=True)
                    raise SystemExit(128 + signal.SIGTERM)
                self._learn(done, *batch)
                done += 1
                if done % options.save_every == 0 or done == options.steps:
                    self._save(done)
                    saved = done
                else:
                    self._tell()

    def _fetched(
        self, batches: Iterator[Any], terminated: Callable[[], bool]
    ) -> tuple[list[Any], _Step, float] | None:
        """The parts of the next step, what they hold and weigh; None when it is time to stop.

        All processes come to the same: what one of them is told or cannot do, all know.
        """
        parts: list[Any] = []
        problem: LlavaChatError | None = None
        try:
            parts = [*islice(batches, self.setting.parts)]
        except LlavaChatError as error:
            problem = error
        held = [self._contents_of(part) for part in parts]
        weight, tokens, samples, skipped, stops, problems = self.processes.sums(
            (
                sum(each.weight for each in held),
                sum(each.tokens for each in held),
                sum(len(each.names) for each in held),
                sum(len(each.skipped) for each in held),
                terminated(),
                problem is not None,
            )
        )
        if problem is not None:
            raise problem
        if problems:
            raise LlavaChatError(f"{self.name}: stopped, because another process had to")
        self.skipped += int(skipped)
        return None if stops else (parts, _Step(held, int(tokens), int(samples)), weight)

    def _learn(self, number: int, parts: list[Any], step: _Step, weight: float) -> None:
        """One step down the gradient of all parts of all processes."""
        if not weight:  # every sample was left out
            return
        share = learning_rate_share(number, self.options.steps, self.options.warmup_share)
        step.rates = set_rates(self.optimisers, share)
        sums: dict[str, Tensor] = {}
        for place, (part, held) in enumerate(zip(parts, step.contents, strict=True), 1):
            counts, last = held.weight / weight, place == len(parts)
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
        self._steps[number + 1] = step
        self._reader.put(number + 1, {**dict(zip(sums, figures, strict=True)), "": norm})

    def _tell(self, *, all_of_them: bool = False) -> None:
        """Say what steps came to, as far as their figures are there. Raises LlavaChatError."""
        for figures in self._reader.arrived(all_of_them=all_of_them):
            step = self._steps.pop(figures.step)
            if not all(math.isfinite(value) for value in figures.values.values()):
                names = self.processes.texts(step.broken())
                raise LlavaChatError(not_a_number(self.name, figures.step, names))
            progress = self._progress(figures, step)
            for watcher in self.watchers:
                watcher.step(progress)

    def _progress(self, figures: Figures, step: _Step) -> Progress:
        before, self._told_at = self._told_at, time.monotonic()
        return Progress(
            step=figures.step,
            steps=self.options.steps,
            losses={name: value for name, value in figures.values.items() if name},
            learning_rates=step.rates,
            gradient_norm=figures.values[""],
            tokens=step.tokens,
            samples=step.samples,
            skipped=self.skipped,
            step_s=self._told_at - before,
            memory_bytes=memory_bytes(self.device),
        )

    def _save(self, done: int) -> None:
        self._tell(all_of_them=True)  # no checkpoint of what is no number any more
        save(self, done)


def memory_bytes(device: torch.device) -> int:
    """The most that was held so far: of a GPU's memory, or of the machine's by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


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
