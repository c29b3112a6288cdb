"""The model card of a run: README.md with the fields that the Hub reads.

Imports huggingface_hub (for those fields), `model.location`, metrics and progress.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from llava_chat.model.location import is_hub_id
from llava_chat.training.watching import plot, samples
from llava_chat.training.watching.lines import duration
from llava_chat.training.watching.metrics import Row, read_metrics
from llava_chat.training.watching.progress import RunFacts

FILE_NAME = "README.md"
_NEAR_SHARE = 0.02  # of a run's steps: what its first and its last loss are means of


@dataclass(frozen=True)
class RunFigures:
    """What a run came to.

    first_loss, last_loss: means over the first and the last `near` steps. tokens, samples: learned
    from in all. seconds: of its steps, without checkpoints. memory_bytes: the most of any step.
    plot: whether plot.svg lies beside the card. replies: samples.md, "" without one.
    """

    steps: int
    near: int
    first_loss: float
    last_loss: float
    tokens: int
    samples: int
    skipped: int
    seconds: float
    memory_bytes: int
    plot: bool = False
    replies: str = ""

    @classmethod
    def of(cls, rows: Sequence[Row]) -> RunFigures:
        """From the lines of metrics.jsonl, of which there is one at least."""
        near = max(1, round(len(rows) * _NEAR_SHARE))
        losses = [row["loss"] for row in rows if row["loss"] is not None]
        first, last = losses[:near], losses[-near:]
        return cls(
            steps=rows[-1]["step"],
            near=near,
            first_loss=sum(first) / max(1, len(first)),
            last_loss=sum(last) / max(1, len(last)),
            tokens=sum(row["tokens"] for row in rows),
            samples=sum(row["samples"] for row in rows),
            skipped=rows[-1]["skipped"],
            seconds=sum(row["step_s"] for row in rows),
            memory_bytes=max(row["memory_bytes"] for row in rows),
        )


def run_figures(output: Path) -> RunFigures | None:
    """What a run wrote to `output` comes to; None before its first step."""
    rows = read_metrics(output)
    if not rows:
        return None
    replies = output / samples.FILE_NAME
    return replace(
        RunFigures.of(rows),
        plot=(output / plot.FILE_NAME).exists(),
        replies=replies.read_text(encoding="utf-8") if replies.exists() else "",
    )


def model_card(facts: RunFacts, figures: RunFigures | None) -> str:
    """The card of a run's model; of its figures, what is known."""
    what = "A LoRA adapter for" if facts.adapter else "A model trained from"
    parts = [
        front_matter(
            facts.base,
            library="peft" if facts.adapter else "transformers",
            tags=["llava", "llava_chat", *(["lora"] if facts.adapter else [])],
            datasets=[facts.data] if is_hub_id(facts.data) else [],
        ),
        f"# {what} `{facts.base}`",
        _trained_on(facts),
        _figures(figures) if figures else "",
        _replies(figures.replies) if figures else "",
        _limits(facts),
        settings_list({**_of_run(facts), **facts.settings}),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def front_matter(
    base: str, *, library: str, tags: Sequence[str], datasets: Sequence[str] = ()
) -> str:
    """The YAML between the dashes. The licence is for whoever publishes the model to name."""
    data = ModelCardData(
        # The Hub knows no folder, nor the bundled model.
        base_model=base if is_hub_id(base) else None,
        datasets=list(datasets) or None,
        library_name=library,
        pipeline_tag="image-text-to-text",
        tags=list(tags),
    )
    return f"---\n{data.to_yaml()}\n# license: the one that the base model and the data allow\n---"


def how_to_run(base: str, *, adapter: bool) -> str:
    """The command that talks to what was trained."""
    named = f"--model {base} --adapter FOLDER" if adapter else "--model FOLDER"
    return f"""```bash
python -m llava_chat chat {named} --image PICTURE --message TEXT
```"""


def settings_list(settings: Mapping[str, Any]) -> str:
    """Every setting on a line of its own."""
    lines = "\n".join(
        f"- {name}: {' '.join(str(value).split())}" for name, value in settings.items()
    )
    return f"## Settings\n\n{lines}"


_LEARNED = {
    "align": "The projector learned from descriptions of pictures (stage 1 of LLaVA, arXiv "
    "2304.08485); the vision tower and the language model are those of the base.",
    "finetune": "The projector and the language model learned from conversations about pictures "
    "(stage 2 of LLaVA, arXiv 2304.08485); the vision tower is that of the base.",
}


def _trained_on(facts: RunFacts) -> str:
    learned = _LEARNED.get(facts.stage, "")
    if facts.adapter:
        learned = "A LoRA adapter on the language model learned from conversations about pictures."
    return f"{learned} The data are `{facts.data}`, {facts.rows:,} rows.\n\n".lstrip() + how_to_run(
        facts.base, adapter=facts.adapter
    )


def _figures(figures: RunFigures) -> str:
    near = f"mean of {figures.near} steps" if figures.near > 1 else "one step"
    rows = {
        "steps": f"{figures.steps:,}",
        f"loss at first ({near})": f"{figures.first_loss:.4f}",
        f"loss at last ({near})": f"{figures.last_loss:.4f}",
        "samples": f"{figures.samples:,}",
        "samples skipped, their picture missing or broken": f"{figures.skipped:,}",
        "tokens": f"{figures.tokens:,}",
        "time of the steps": duration(figures.seconds),
        "tokens a second": f"{figures.tokens / max(1e-9, figures.seconds):,.0f}",
        "most memory": f"{figures.memory_bytes / 1e9:.1f} GB",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    drawn = (
        f"\n\n![Loss, learning rate and gradient norm]({plot.FILE_NAME})" if figures.plot else ""
    )
    return f"## The run\n\n| | |\n|---|---:|\n{table}{drawn}"


def _replies(told: str) -> str:
    """samples.md as a part of the card: a level deeper, and without the data's pictures."""
    lines = told.splitlines()
    kept: list[str] = []
    fence = ""
    for line in lines:
        if fence:
            fence = "" if line == fence else fence
        elif line.startswith("```"):
            fence = line.removesuffix("text")
        elif line.startswith("!["):
            continue
        elif line.startswith("#"):
            line = f"#{line}"
        kept.append(line)
    return re.sub("\n{3,}(?=Asked|The)", "\n\n", "\n".join(kept)).strip()


_ALIGNED = (
    "It was trained on descriptions alone, as a step on the way: it is not made to chat before "
    "stage 2 (`train finetune`)."
)


def _limits(facts: RunFacts) -> str:
    lines = [
        "It may name what is not in the picture, misread what is printed there, and miscount.",
        "It knows no more of the world, and is no safer, than its base and its data are.",
        "The figures above are of its training. Nothing here tells how well it answers: measure it "
        "with `python -m llava_chat evaluate` before relying on it.",
    ]
    if facts.stage == "align":
        lines.insert(0, _ALIGNED)
    return "## What it cannot do\n\n" + "\n".join(f"- {line}" for line in lines)


def _of_run(facts: RunFacts) -> dict[str, Any]:
    counted = Counter(facts.devices)
    devices = ", ".join(
        f"{count} x {name}" if count > 1 else name for name, count in counted.items()
    )
    return {
        "stage": facts.stage,
        "recipe": facts.recipe or "none",
        "base": facts.base,
        "revision": facts.base_revision,
        "template": facts.template,
        "data": facts.data,
        "rows": facts.rows,
        "steps": facts.steps,
        "devices": devices,
    }
