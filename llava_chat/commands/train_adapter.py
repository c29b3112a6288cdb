"""`train adapter`: from what people wrote about replies to a LoRA adapter.

Files first: replies in LLaVA's instruction JSON, pairs in JSONL. What it does with them is
`training.adapter`'s, which knows of no file.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llava_chat.errors import UsageError

if TYPE_CHECKING:
    from llava_chat.image import Picture
    from llava_chat.model.checkpoint import Checkpoint
    from llava_chat.training.adapter.lessons import Lesson, Preference
    from llava_chat.training.adapter.report import Figures, Report
    from llava_chat.training.adapter.training import AdapterOptions

STATE_NAME = "training_state.pt"
DEFAULT_OLD = 400
"""Rows of the bundled model's own training: docs/adapters.md tells what fewer and more do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Rows, the adapter's shape, how it learns, and what is measured."""
    rows = parser.add_argument_group("rows")
    rows.add_argument("--data", type=Path, metavar="FILE", help="LLaVA's instruction JSON")
    rows.add_argument("--images", type=Path, help="the folder of its pictures; the file's own")
    rows.add_argument(
        "--preferences", type=Path, metavar="FILE", help="JSONL: prompt, chosen, rejected, images"
    )
    rows.add_argument(
        "--held-out", type=float, default=0.1, metavar="SHARE", help="of the rows, never trained on"
    )
    rows.add_argument(
        "--replay",
        type=Path,
        metavar="FILE",
        help="what the model said before, as --data, so that it stays",
    )
    rows.add_argument(
        "--keep-old",
        type=int,
        metavar="N",
        help=f"rows of old skills beside the new ones; of scenes' own questions {DEFAULT_OLD}, "
        "of --replay all",
    )
    parser.add_argument("--model", default="scenes", help="the checkpoint that it goes on")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    learning = parser.add_argument_group("learning; what is left out suits the model's size")
    learning.add_argument("--rank", type=int, help="of LoRA's matrices")
    learning.add_argument("--alpha", type=int, help="LoRA's scale, times the rank; twice the rank")
    learning.add_argument("--lr", type=float, help="peak learning rate")
    learning.add_argument("--epochs", type=float, help="how often each row is learned")
    learning.add_argument("--steps", type=int, help="instead of epochs")
    learning.add_argument("--batch-size", type=int, default=8)
    learning.add_argument("--beta", type=float, default=0.1, help="of DPO, for --preferences")
    learning.add_argument("--max-tokens", type=int, default=2048)
    learning.add_argument("--seed", type=int, default=0)
    learning.add_argument("--device", default="auto")
    learning.add_argument(
        "--dtype", choices=("auto", "float32", "float16", "bfloat16"), default="auto"
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=100,
        metavar="N",
        help="of the scenes to measure old skills on; 0 for none",
    )
    parser.add_argument("--json", action="store_true", help="the report for a program")


def run(args: argparse.Namespace) -> int:
    """Train, write the folder, print the figures."""
    _check(args)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--output: the folder {args.output} cannot be made") from error
    from llava_chat.model.checkpoint import load_checkpoint
    from llava_chat.training.adapter.report import card, table

    supervised, preferences = _rows(args)
    checkpoint = load_checkpoint(args.model, device=args.device, dtype=args.dtype)
    report = _trained(args, checkpoint, supervised, preferences)
    _write(args.output / "README.md", card(report))
    _write(args.output / "report.json", json.dumps(report.as_dict(), indent=2) + "\n")
    (args.output / STATE_NAME).unlink()
    print(json.dumps(report.as_dict()) if args.json else table(report))
    return 0


def _write(file: Path, text: str) -> None:
    aside = file.with_name(f".{file.name}.partial")
    aside.write_text(text, encoding="utf-8")
    aside.replace(file)


def _check(args: argparse.Namespace) -> None:
    if args.data is None and args.preferences is None:
        raise UsageError("there is nothing to learn from; give --data, --preferences or both")
    for name in ("rank", "alpha", "lr", "epochs", "steps", "batch_size", "beta", "max_tokens"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"--{name.replace('_', '-')} must be above 0")
    for name in ("seed", "keep_old", "pictures"):
        value = getattr(args, name)
        if value is not None and value < 0:
            raise UsageError(f"--{name.replace('_', '-')} must not be below 0")
    if not 0 <= args.held_out < 1:
        raise UsageError("--held-out must be a share from 0 up to, but not, 1")


def _rows(args: argparse.Namespace) -> tuple[list[Lesson], list[Preference]]:
    from llava_chat.training.adapter.preferences import read_preferences

    read = picture_reader()
    supervised = [] if args.data is None else _lessons(args.data, args.images, read)
    if args.preferences is None:
        return supervised, []
    return supervised, read_preferences(args.preferences, read)


def picture_reader() -> Callable[[Path], Picture]:
    """Reads each file once: a picture is often spoken of in several rows."""
    from llava_chat.image import read_picture

    return lru_cache(maxsize=None)(lambda path: read_picture(path))


def _lessons(file: Path, images: Path | None, read: Callable[[Path], Picture]) -> list[Lesson]:
    from llava_chat.training.adapter.lessons import Lesson
    from llava_chat.training.instructions import read_instructions

    rows = read_instructions(file, images or file.parent)
    return [Lesson(row.conversation(read), row.where) for row in rows]


def _trained(
    args: argparse.Namespace,
    checkpoint: Checkpoint,
    supervised: list[Lesson],
    preferences: list[Preference],
) -> Report:
    """Measure, train, save the adapter, measure again."""
    from llava_chat.model.location import is_hub_id
    from llava_chat.training.adapter.lessons import hold_out
    from llava_chat.training.adapter.lora import save_adapter
    from llava_chat.training.adapter.report import Report
    from llava_chat.training.adapter.training import step_count, train_adapter

    lessons, held_lessons = hold_out(supervised, args.held_out)
    pairs, held_pairs = hold_out(preferences, args.held_out)
    if not lessons and not pairs:
        raise UsageError("--held-out leaves no row to learn from; make it smaller, or 0")
    options = _options(args, checkpoint)
    started = time.monotonic()
    judge = _Judge(args, checkpoint, held_lessons, held_pairs, options)
    changed = judge.changed_words(lessons, pairs)
    before = judge.figures(changed)
    old = _old(args, checkpoint, changed)
    measured = time.monotonic()
    state = args.output / STATE_NAME
    lora = train_adapter(
        checkpoint, lessons, pairs, options, state, old=old, features=judge.features
    )
    hub = checkpoint.revision if is_hub_id(args.model) else None
    save_adapter(checkpoint.model, lora, args.output, base=_base(args.model), revision=hub)
    trained = time.monotonic()
    after = judge.figures(changed)
    return Report(
        base=_base(args.model),
        revision=checkpoint.revision,
        settings={
            "rank": lora.rank,
            "alpha": lora.alpha,
            "read-out of words": lora.head,
            "lr": options.peak_lr(checkpoint.model),
            "batch size": options.batch_size,
            "beta": options.beta,
            "seed": options.seed,
            "held out": args.held_out,
        },
        rows={
            "replies": len(lessons),
            "pairs": len(pairs),
            "old rows": len(old),
            "replies held out": len(held_lessons),
            "pairs held out": len(held_pairs),
        },
        changed_words=tuple(sorted(changed)),
        steps=step_count(len(lessons), len(pairs), options),
        seconds={
            "before": round(measured - started, 1),
            "training": round(trained - measured, 1),
            "after": round(time.monotonic() - trained, 1),
        },
        before=before,
        after=after,
    )


def _base(name: str) -> str:
    """The name by which the adapter finds its base again, from whatever folder."""
    folder = Path(name).expanduser()
    return str(folder.resolve()) if name != "scenes" and folder.is_dir() else name


def _options(args: argparse.Namespace, checkpoint: Checkpoint) -> AdapterOptions:
    from llava_chat.training.adapter.lora import suited
    from llava_chat.training.adapter.training import AdapterOptions

    lora = suited(checkpoint.model).lora
    if args.rank is not None:
        lora = replace(lora, rank=args.rank, alpha=2 * args.rank)
    if args.alpha is not None:
        lora = replace(lora, alpha=args.alpha)
    return AdapterOptions(
        lora=lora,
        lr=args.lr,
        epochs=args.epochs,
        batch_size=args.batch_size,
        steps=args.steps,
        beta=args.beta,
        seed=args.seed,
        max_tokens=args.max_tokens,
    )


def _old(
    args: argparse.Namespace, checkpoint: Checkpoint, changed: Collection[str]
) -> list[Lesson]:
    from llava_chat.training.adapter.old_skills import free_of, knows_scenes, scenes_lessons

    if args.replay is not None:
        rows = free_of(_lessons(args.replay, None, picture_reader()), changed)
        return rows if args.keep_old is None else rows[: args.keep_old]
    if knows_scenes(checkpoint.description):
        count = DEFAULT_OLD if args.keep_old is None else args.keep_old
        return scenes_lessons(count, args.seed, changed)
    if args.keep_old:
        raise UsageError(f"--keep-old: {args.model} has no questions of its own; give --replay")
    return []


class _Judge:
    """Measures a model twice: before there is an adapter, and with it."""

    def __init__(
        self,
        args: argparse.Namespace,
        checkpoint: Checkpoint,
        lessons: list[Lesson],
        pairs: list[Preference],
        options: AdapterOptions,
    ) -> None:
        from llava_chat.training.adapter.batches import Features

        self.features = Features(checkpoint)
        self._checkpoint = checkpoint
        self._lessons, self._pairs, self._options = lessons, pairs, options
        self._pictures = args.pictures
        self._reference: Any = None

    def changed_words(self, lessons: list[Lesson], pairs: list[Preference]) -> frozenset[str]:
        """What people replace in the replies of the model as it is, and in those they reject."""
        from llava_chat.training.adapter.judging import opened, replies
        from llava_chat.training.adapter.old_skills import replaced_words

        rejected = [(pair.rejected, pair.chosen) for pair in pairs]
        if not lessons:
            return replaced_words(rejected)
        engine = opened(self._checkpoint)
        try:
            return replaced_words([*replies(engine, lessons), *rejected])
        finally:
            engine.close(grace_s=0)

    def figures(self, changed: Collection[str]) -> Figures:
        """Of the model as it is now; the first time is before training."""
        from llava_chat.training.adapter import judging
        from llava_chat.training.adapter.old_skills import knows_scenes
        from llava_chat.training.adapter.report import Figures

        preferences, logprobs = judging.preference_figures(
            self._checkpoint,
            self._pairs,
            self._reference,
            beta=self._options.beta,
            max_tokens=self._options.max_tokens,
            features=self.features,
        )
        self._reference = logprobs if self._reference is None else self._reference
        engine = judging.opened(self._checkpoint)
        try:
            said = judging.replies(engine, self._lessons)
            old = {}
            if self._pictures and knows_scenes(self._checkpoint.description):
                old = judging.kinds(judging.old_skills(engine, self._pictures, changed))
        finally:
            engine.close(grace_s=0)
        return Figures(judging.lesson_figures(said), preferences, old)
