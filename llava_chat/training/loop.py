"""One training loop for every stage: warm-up and cosine, checkpoints, resume, progress."""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from llava_chat.errors import LlavaChatError
from llava_chat.training.termination import termination

Losses = Mapping[str, Tensor]
Run = Mapping[str, str | int | float | None]


@dataclass(frozen=True)
class LoopOptions:
    """How long and how fast to learn.

    steps: optimiser steps in all. lr: AdamW's peak learning rate. matrix_lr: Muon's, for the
    weights of the hidden linear layers; None leaves them to AdamW too. warmup_share: of the steps,
    rising linearly (3 % in LLaVA, arXiv 2304.08485). weight_decay: AdamW's and Muon's. clip_norm:
    of the gradient. save_every, log_every: steps. bf16: autocast, worth it where the processor
    multiplies bf16. run: what else tells this run from others, such as its data and its seed.
    """

    steps: int
    lr: float
    matrix_lr: float | None = None
    warmup_share: float = 0.03
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    save_every: int = 500
    log_every: int = 50
    bf16: bool = True
    run: Run = field(default_factory=dict)


def learning_rate_share(step: int, steps: int, warmup_share: float) -> float:
    """The share of the peak learning rate at `step`: a linear rise, then a cosine to zero.

    >>> [round(learning_rate_share(s, 100, 0.1), 2) for s in (0, 9, 10, 55, 99)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def autocast(device: torch.device, enabled: bool) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 where it is asked for, float32 elsewhere."""
    if enabled:
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


Module = TypeVar("Module", bound=nn.Module)


def on_device(module: Module, device: torch.device) -> Module:
    """`module.to(device)`, whose type transformers hides."""
    nn.Module.to(module, device)
    return module


def compiled(module: nn.Module) -> Callable[..., Any]:
    """The module through torch.compile, or the module itself where that does not work.

    Worth it for a decoder of one length: it fuses the many small operations between its matrix
    products. On a CPU these include plain attention's, which is the faster there at some hundred
    tokens. It needs a C++ compiler on a CPU and Triton on a GPU, which may be missing.
    """
    on_cpu = next(module.parameters()).device.type == "cpu"
    if on_cpu and isinstance(module, PreTrainedModel):
        module.set_attn_implementation("eager")
    ways: list[Callable[..., Any]] = [module]

    def call(*inputs: Any, **named: Any) -> Any:
        try:
            return ways[-1](*inputs, **named)
        except RuntimeError as error:
            if len(ways) == 1:
                raise
            outputs = module(*inputs, **named)  # raises as well if the compiler is not to blame
            ways.pop()
            reason = str(error).strip().partition("\n")[0]
            print(f"going on without torch.compile: {reason}", file=sys.stderr, flush=True)
            return outputs

    with contextlib.suppress(RuntimeError):  # this Python or this machine has no compiler at all
        ways.append(torch.compile(module, dynamic=False))
    return call


def train(
    name: str,
    modules: nn.Module,
    loss_of: Callable[[Any], Losses],
    batches_from: Callable[[int], Iterator[Any]],
    options: LoopOptions,
    state_file: Path,
    *,
    names_of: Callable[[Any], Sequence[str]] = lambda _: (),
) -> None:
    """Train the parameters of `modules` that want a gradient; return when all steps are done.

    loss_of(batch) -> named losses; the one named 'loss' is followed down. batches_from(step) ->
    the batches from that step on. state_file: written whole or not at all every save_every steps;
    when it is there already, the run goes on from it. names_of(batch) -> what the samples are
    called that make a loss which is not a number. Raises LlavaChatError on such a loss, and when
    the state is another run's; SystemExit after SIGTERM, once the state is written.
    """
    learned = [p for p in modules.parameters() if p.requires_grad]
    optimisers = _optimisers(modules, options)
    run = _described(name, options)
    first = _resume(run, modules, optimisers, state_file)
    device = learned[0].device
    progress = _Progress(name, first, options)
    batches = batches_from(first) if first < options.steps else iter(())
    with termination() as terminated:
        for step in range(first, options.steps):
            share = learning_rate_share(step, options.steps, options.warmup_share)
            batch = next(batches)
            with autocast(device, options.bf16):
                losses = loss_of(batch)
            losses["loss"].backward()
            norm = float(nn.utils.clip_grad_norm_(learned, options.clip_norm))
            if not math.isfinite(norm):
                raise LlavaChatError(_not_a_number(name, step + 1, names_of(batch)))
            _follow(optimisers, share)
            progress.step(step + 1, losses, norm)
            done = step + 1
            if done % options.save_every == 0 or done == options.steps or terminated():
                _save(run, modules, optimisers, done, state_file)
            if terminated() and done < options.steps:
                print(f"{name}: stopped after step {done}", file=sys.stderr, flush=True)
                raise SystemExit(128 + signal.SIGTERM)


def _follow(optimisers: list[torch.optim.Optimizer], share: float) -> None:
    """One step down the gradient, at `share` of the peak learning rates."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak_lr"] * share
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def _not_a_number(name: str, step: int, samples: Sequence[str]) -> str:
    """The sentence about a loss that is none.

    >>> _not_a_number("align", 6, ())
    'align: the loss is not a number at step 6'
    >>> _not_a_number("align", 6, ("a.json, row 3", "a.json, row 8"))
    'align: the loss is not a number at step 6, which learns from a.json, row 3; a.json, row 8'
    """
    sentence = f"{name}: the loss is not a number at step {step}"
    return f"{sentence}, which learns from {'; '.join(samples)}" if samples else sentence


def _optimisers(modules: nn.Module, options: LoopOptions) -> list[torch.optim.Optimizer]:
    """AdamW for all that learns, or Muon for the hidden matrices and AdamW for the rest.

    Muon (https://kellerjordan.github.io/posts/muon) learns in fewer steps; its updates are scaled
    so that learning rates are of AdamW's size (arXiv 2502.16982). Embeddings and the read-out of
    the vocabulary are not for it.
    """
    learned = {name: p for name, p in modules.named_parameters() if p.requires_grad}
    matrices = set() if options.matrix_lr is None else hidden_matrices(modules) & set(learned)
    rest = [p for name, p in learned.items() if name not in matrices]
    found: list[torch.optim.Optimizer] = []
    if rest:
        group = {"params": rest, "peak_lr": options.lr}
        found.append(
            torch.optim.AdamW([group], weight_decay=options.weight_decay, betas=(0.9, 0.98))
        )
    if options.matrix_lr is not None and matrices:
        group = {"params": [learned[n] for n in sorted(matrices)], "peak_lr": options.matrix_lr}
        found.append(
            torch.optim.Muon(
                [group], weight_decay=options.weight_decay, adjust_lr_fn="match_rms_adamw"
            )
        )
    return found


def hidden_matrices(modules: nn.Module) -> set[str]:
    """The names of the weights of linear layers, the read-out of a vocabulary apart.

    >>> layers = {"embed": nn.Embedding(4, 2), "up": nn.Linear(2, 3), "lm_head": nn.Linear(3, 4)}
    >>> sorted(hidden_matrices(nn.ModuleDict(layers)))
    ['up.weight']
    """
    return {
        f"{name}.weight" if name else "weight"
        for name, part in modules.named_modules()
        if isinstance(part, nn.Linear) and name.rpartition(".")[2] != "lm_head"
    }


class _Progress:
    """A line to stderr every so often: smoothed losses, speed, time left."""

    def __init__(self, name: str, first: int, options: LoopOptions) -> None:
        self.name, self.first, self.options = name, first, options
        self.started = time.monotonic()
        self.sums: dict[str, float] = {}
        self.count = 0

    def step(self, done: int, losses: Losses, norm: float) -> None:
        for key, value in losses.items():
            self.sums[key] = self.sums.get(key, 0.0) + float(value.detach())
        self.count += 1
        if done % self.options.log_every and done != self.options.steps:
            return
        speed = (done - self.first) / max(1e-9, time.monotonic() - self.started)
        left_min = (self.options.steps - done) / speed / 60
        shown = "  ".join(f"{key} {value / self.count:.4f}" for key, value in self.sums.items())
        print(
            f"{self.name} {done}/{self.options.steps}  {shown}  norm {norm:.2f}"
            f"  {speed:.2f} steps/s  {left_min:.1f} min left",
            file=sys.stderr,
            flush=True,
        )
        self.sums, self.count = {}, 0


def _described(name: str, options: LoopOptions) -> Run:
    """What a run is: with any of it changed, going on would mix two runs."""
    may_change = ("save_every", "log_every", "bf16", "run")
    shared = {key: value for key, value in asdict(options).items() if key not in may_change}
    return {"part": name, **shared, **options.run}


def _learned_state(modules: nn.Module) -> dict[str, Tensor]:
    wanted = {name for name, p in modules.named_parameters() if p.requires_grad}
    return {name: value for name, value in modules.state_dict().items() if name in wanted}


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}


def _save(
    run: Run,
    modules: nn.Module,
    optimisers: list[torch.optim.Optimizer],
    step: int,
    state_file: Path,
) -> None:
    state_file.parent.mkdir(parents=True, exist_ok=True)
    aside = state_file.with_suffix(".partial")
    state = {
        "step": step,
        "run": dict(run),
        "modules": _learned_state(modules),
        "optimisers": [optimiser.state_dict() for optimiser in optimisers],
    }
    torch.save(state, aside)
    os.replace(aside, state_file)


def steps_done(state_file: Path) -> int:
    """How far the run that writes `state_file` is; 0 before its first state."""
    return int(_read_state(state_file)["step"]) if state_file.exists() else 0


def _read_state(state_file: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(state_file, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise LlavaChatError(f"{state_file} is damaged; delete it to start again") from error
    return state


def _check_run(state: Mapping[str, Any], run: Run, state_file: Path) -> None:
    """Raise LlavaChatError when the state is not one of `run`."""
    begun = state.get("run")
    if begun is None:  # as states were once written
        steps = run["steps"]
        differ = [f"{state['step']} steps done of {steps}"] if state["step"] > steps else []
    else:
        keys = [key for key in {**begun, **run} if begun.get(key) != run.get(key)]
        differ = [f"{key} {begun.get(key)} there, {run.get(key)} here" for key in keys]
    if differ:
        raise LlavaChatError(
            f"{state_file} was written by another run ({'; '.join(differ)}); delete it to start "
            "again, or go on with what it was begun with"
        )


def _resume(
    run: Run, modules: nn.Module, optimisers: list[torch.optim.Optimizer], state_file: Path
) -> int:
    if not state_file.exists():
        return 0
    state = _read_state(state_file)
    _check_run(state, run, state_file)
    alike = _shapes(state["modules"]) == _shapes(_learned_state(modules))
    if not alike or len(state.get("optimisers", ())) != len(optimisers):
        raise LlavaChatError(
            f"{state_file} was written by another model or optimiser; delete it to start again"
        )
    modules.load_state_dict(state["modules"], strict=False)
    for optimiser, kept in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(kept)
    trusted = "" if "run" in state else ", trusting that the state is this run's: it does not say"
    print(
        f"{run['part']}: going on from step {state['step']}{trusted}", file=sys.stderr, flush=True
    )
    return int(state["step"])
