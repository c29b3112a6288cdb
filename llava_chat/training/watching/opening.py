"""Who watches a run, put together. Imports the modules beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

from llava_chat.training.watching.boards import TensorBoard, WeightsAndBiases
from llava_chat.training.watching.lines import Lines
from llava_chat.training.watching.metrics import FILE_NAME, Metrics
from llava_chat.training.watching.plot import Plot
from llava_chat.training.watching.progress import RunFacts, Watcher
from llava_chat.training.watching.samples import SampleReplies


def watchers(
    facts: RunFacts,
    output: Path,
    *,
    log_every: int,
    tensorboard: bool = True,
    wandb: str | None = None,
    samples: SampleReplies | None = None,
    stream: TextIO | None = None,
) -> list[Watcher]:
    """Those of a run that writes to the folder `output`, which exists.

    wandb: the project there; None asks nobody. stream: for lines, stderr if it is None. Raises
    UsageError when W&B is asked for and not installed; without TensorBoard a line says so.
    """
    stream = stream or sys.stderr
    found: list[Watcher] = [Metrics(output), Lines(facts.stage, log_every, stream)]
    if tensorboard:
        try:
            found.append(TensorBoard(facts, output, log_every=log_every))
        except ImportError:
            stream.write(
                f"{facts.stage}: going on without TensorBoard, which is not installed (pip install "
                f"tensorboard); {FILE_NAME} has every figure\n"
            )
    if wandb is not None:
        found.append(WeightsAndBiases(facts, output, wandb, log_every=log_every))
    if samples is not None:
        found.append(samples)
    title = f"{facts.stage} of {facts.base}"
    return [*found, Plot(title, output)]
