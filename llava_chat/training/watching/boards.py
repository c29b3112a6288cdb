"""TensorBoard and Weights & Biases: Watchers that hand averages to where people compare runs.

Both packages are optional on a machine that trains. Imports torch's writer and wandb only when
they are opened, and averages, metrics, progress and errors.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from llava_chat.errors import LlavaChatError, UsageError
from llava_chat.training.watching.averages import Averaging
from llava_chat.training.watching.metrics import FILE_NAME as METRICS_NAME
from llava_chat.training.watching.progress import Progress, RunFacts

TENSORBOARD_FOLDER = "tensorboard"
WANDB_RUN = "wandb-run"
"""Holds the id of the W&B run, so that a run that goes on is the same one there."""


class TensorBoard:
    """Scalars in `output`/tensorboard; `tensorboard --logdir` of any folder above shows them.

    Raises ImportError without the package.
    """

    def __init__(self, facts: RunFacts, output: Path, *, log_every: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._open = SummaryWriter
        self._facts, self._folder = facts, output / TENSORBOARD_FOLDER
        self._averaging = Averaging(log_every)
        self._writer: Any = None

    def step(self, progress: Progress) -> None:
        """Write what is due. What an earlier process wrote of later steps is hidden."""
        if self._writer is None:
            self._writer = self._open(str(self._folder), purge_step=progress.step)
            if progress.step == 1:
                self._writer.add_text("settings", _table(self._facts))
        found = self._averaging.add(progress)
        if found is not None:
            for name, value in found.named().items():
                self._writer.add_scalar(name, value, found.step)

    def saving(self, step: int, folder: Path) -> None:
        """See that what was written so far is in the file."""
        if self._writer is not None:
            self._writer.flush()

    def end(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases:
    """A run on W&B, by the account and the mode that its own variables name (WANDB_MODE=offline).

    project: there. In a folder that holds a run, that one is gone on with. Raises UsageError
    without the package, LlavaChatError when W&B does not take the run.
    """

    def __init__(self, facts: RunFacts, output: Path, project: str, *, log_every: int) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UsageError(
                "--wandb needs a package that is not installed: pip install wandb"
            ) from error
        try:
            self._run: Any = wandb.init(
                project=project,
                id=_run_id(output),
                resume="allow",
                dir=str(output),
                config={"stage": facts.stage, **facts.settings},
            )
        except wandb.errors.Error as error:
            reason = " ".join(str(error).split())
            raise LlavaChatError(f"--wandb: Weights & Biases took no run: {reason}") from error
        # W&B's own count only rises, and a run that goes on repeats some steps.
        self._run.define_metric("*", step_metric="step")
        self._averaging = Averaging(log_every)

    def step(self, progress: Progress) -> None:
        """Log what is due."""
        found = self._averaging.add(progress)
        if found is not None:
            self._run.log({"step": found.step, **found.named()})

    def saving(self, step: int, folder: Path) -> None:
        """Nothing: W&B keeps no checkpoints of ours."""

    def end(self) -> None:
        """Wait until all is sent, or kept for `wandb sync`."""
        self._run.finish()


def _run_id(output: Path) -> str:
    """The id of the folder's run: a new one unless the run has steps already."""
    file = output / WANDB_RUN
    if not (file.exists() and (output / METRICS_NAME).exists()):
        file.write_text(secrets.token_hex(8) + "\n", encoding="utf-8")
    return file.read_text(encoding="utf-8").strip()


def _table(facts: RunFacts) -> str:
    """The run's settings in Markdown, which TensorBoard shows."""
    rows = [f"| {name} | {value} |" for name, value in facts.settings.items()]
    return "\n".join(["| setting | value |", "|---|---|", *rows])
