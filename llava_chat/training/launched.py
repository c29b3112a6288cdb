"""Several processes, as `accelerate launch` or torchrun started them. Imports torch, accelerate
and errors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llava_chat.errors import LlavaChatError
from llava_chat.training.processes import Made, Optimisers, Processes

# The first process may look at data, or write a model, while the others wait; one that dies is
# noticed at once.
_PATIENCE = timedelta(days=1)
_LAUNCHERS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def processes(device: str = "auto", *, bf16: bool = False) -> Processes:
    """Those that this one was started with; one by itself when nothing started several."""
    from accelerate.utils import get_int_from_env

    started = torch.distributed.is_torchelastic_launched() or get_int_from_env(_LAUNCHERS, 1) > 1
    return Launched(device, bf16=bf16) if started else Processes()


class Launched(Processes):
    """What a launcher's settings make of a run: DDP, FSDP or DeepSpeed."""

    def __init__(self, device: str = "auto", *, bf16: bool = False) -> None:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs, DistributedType

        self._accelerator = Accelerator(
            cpu=device == "cpu",
            mixed_precision="bf16" if bf16 else "no",
            # The loop says itself which part of a step is the last; a step is one to accelerate.
            gradient_accumulation_steps=1,
            kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
        )
        kind = self._accelerator.distributed_type
        self._deepspeed = kind == DistributedType.DEEPSPEED
        self.sharded = kind in (DistributedType.FSDP, DistributedType.DEEPSPEED)
        self.index = self._accelerator.process_index
        self.count = self._accelerator.num_processes
        self.device = self._accelerator.device
        # Numbers that the processes agree on never wait for what is queued on a GPU.
        self._talk = torch.distributed.new_group(backend="gloo", timeout=_PATIENCE)

    def wrap(
        self, learner: nn.Module, optimisers: Optimisers, *, clip_norm: float, micro_batch_size: int
    ) -> tuple[nn.Module, Optimisers]:
        """Both as accelerate prepares them."""
        if self._deepspeed:
            settings = self._accelerator.state.deepspeed_plugin.deepspeed_config
            settings["train_micro_batch_size_per_gpu"] = micro_batch_size
            settings["gradient_accumulation_steps"] = 1
            settings["gradient_clipping"] = clip_norm
            settings["zero_allow_untested_optimizer"] = True
        self._accelerator.free_memory()  # it remembers a run before, and would save that too
        prepared = self._accelerator.prepare(learner, *optimisers)
        return prepared[0], [*prepared[1:]]

    def autocast(
        self, device: torch.device, enabled: bool
    ) -> contextlib.AbstractContextManager[Any]:
        """Accelerate's own, which knows what FSDP and DeepSpeed cast themselves."""
        if self.sharded:
            return contextlib.nullcontext()
        return super().autocast(device, enabled)

    def holding(self, learner: nn.Module, *, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Gradients wait where each process holds all of them; shards are exchanged at once."""
        self._accelerator.sync_gradients = last
        if last or self.sharded:
            return contextlib.nullcontext()
        waiting: contextlib.AbstractContextManager[Any] = self._accelerator.no_sync(learner)
        return waiting

    def backward(self, learner: nn.Module, loss: Tensor, *, last: bool) -> None:
        """DDP, FSDP and DeepSpeed give the mean over processes; the loop wants the sum."""
        self._accelerator.backward(loss * self.count)

    def clip(self, learner: nn.Module, learned: Sequence[nn.Parameter], max_norm: float) -> Tensor:
        """Of the gradient of all processes; DeepSpeed has clipped it already."""
        # accelerate knows a sharded model by the list of all its weights.
        weights = [*learner.parameters()] if self.sharded else learned
        norm = self._accelerator.clip_grad_norm_(weights, max_norm)
        if isinstance(norm, Tensor):
            whole = getattr(norm, "full_tensor", None)
            return norm.detach() if whole is None else whole().detach()
        return torch.tensor(float("nan") if norm is None else float(norm), device=self.device)

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """By gloo, on the CPU."""
        added = torch.tensor(numbers, dtype=torch.float64)
        torch.distributed.all_reduce(added, group=self._talk)
        return [float(number) for number in added]

    def add_up(self, figures: Tensor) -> None:
        """By the device's own way."""
        torch.distributed.all_reduce(figures)

    def texts(self, mine: Sequence[str]) -> list[str]:
        """By gloo, on the CPU."""
        gathered: list[list[str]] = [[] for _ in range(self.count)]
        torch.distributed.all_gather_object(gathered, [*mine], group=self._talk)
        return [text for texts in gathered for text in texts]

    def together(self, work: Callable[[], object]) -> None:
        """Each says how it went before any goes on."""
        mine: LlavaChatError | None = None
        try:
            work()
        except LlavaChatError as error:
            mine = error
        problems = self.texts([str(mine)] if mine else [])
        if mine is not None:
            raise mine
        if problems:
            raise LlavaChatError(problems[0])

    def from_first(self, make: Callable[[], Made]) -> Made:
        """Made once, and sent to the others; what it raises is raised in all."""
        made: list[Any] = [None]
        self.together(lambda: made.__setitem__(0, make()) if self.first else None)
        torch.distributed.broadcast_object_list(made, src=0, group=self._talk)
        found: Made = made[0]
        return found

    def save_shards(self, folder: Path) -> None:
        """Accelerate's own files."""
        self._accelerator.save_state(str(folder))

    def load_shards(self, folder: Path) -> None:
        """Accelerate's own files."""
        self._accelerator.load_state(str(folder))

    def whole_state(self, learner: nn.Module) -> dict[str, Tensor]:
        """Gathered by all of them; empty in all but the first."""
        state: dict[str, Tensor] = self._accelerator.get_state_dict(learner)
        return state if self.first else {}

    def end(self) -> None:
        """Leave the group, which torch complains about otherwise."""
        torch.distributed.destroy_process_group()
