"""`train align` and `train finetune`: the two stages of LLaVA's recipe, on anyone's data."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from llava_chat.commands.checks import make_folder
from llava_chat.commands.train.checks import look_at, named_base
from llava_chat.commands.train.stage_options import add_arguments, settings_of, shown
from llava_chat.commands.train.watching_options import log_every
from llava_chat.errors import BrokenSampleError, UsageError
from llava_chat.training.recipes import StageSettings
from llava_chat.training.writing import write_whole

if TYPE_CHECKING:
    import numpy as np

    from llava_chat.model.checkpoint import Checkpoint
    from llava_chat.training.adapter.lora import Lora
    from llava_chat.training.data import Rows
    from llava_chat.training.feature_cache import FeatureCache
    from llava_chat.training.processes import Processes
    from llava_chat.training.stages import StageOptions
    from llava_chat.training.survey import Survey
    from llava_chat.training.watching.progress import RunFacts, Watcher
    from llava_chat.training.watching.samples import Sample

__all__ = ["add_arguments", "run"]

_CHECKPOINTS, _FEATURES = "checkpoints", "features"


def run(args: argparse.Namespace) -> int:
    """Train; print where the model went."""
    settings = settings_of(args)
    make_folder("--output", args.output)
    from llava_chat.model.device import choose_device, has_native_bfloat16
    from llava_chat.training.launched import processes

    device = choose_device(args.device)
    _check_quantize(args, device.type)
    native = args.precision == "auto" and has_native_bfloat16(device)
    bf16 = args.precision == "bf16" or native
    group = processes(args.device, bf16=bf16)
    try:
        _Stage(args, settings, group, device.type, bf16).run()
    finally:
        group.end()
    return 0


def _check_quantize(args: argparse.Namespace, device_type: str) -> None:
    """Raise UsageError for QLoRA where it cannot be."""
    quantize = getattr(args, "quantize", "none")
    if quantize != "none" and device_type != "cuda":
        raise UsageError(f"--quantize {quantize} needs a CUDA GPU, not {device_type}; leave it out")


@dataclass(frozen=True)
class _Stage:
    """One run of the command, in one of its processes."""

    args: argparse.Namespace
    settings: StageSettings
    group: Processes
    device_type: str
    bf16: bool

    def run(self) -> None:
        """From rows to the folder that is written."""
        from llava_chat.training.checkpoints import Checkpoints
        from llava_chat.training.data import open_rows
        from llava_chat.training.loop import Setting
        from llava_chat.training.stages import run_stage
        from llava_chat.training.watching.samples import hold_out

        args = self.args
        rows = open_rows(args.data, args.images)
        looked = self.group.from_first(lambda: look_at(rows, args, self.settings.max_tokens))
        held, learned = hold_out(len(rows), args.samples)
        checkpoint = self._loaded()
        steps = max(1, round(len(learned) * self.settings.epochs / self.settings.batch_size))
        options = self._options(rows, steps, len(held))
        facts = self._facts(checkpoint, rows, steps)
        row_of = self._order(looked, learned)
        trained = run_stage(
            args.stage,
            checkpoint,
            lambda number: rows.conversation(row_of(number)),
            options,
            args.output / _CHECKPOINTS,
            name_of=lambda number: rows.where(row_of(number)),
            setting=Setting(
                self.group,
                self._watchers(facts, checkpoint, rows, held) if self.group.first else (),
            ),
            features=self._features(checkpoint),
        )
        self.group.together(lambda: self._write(trained, facts))
        if self.group.first:
            Checkpoints(args.output / _CHECKPOINTS).forget()
            if args.feature_cache is None:
                shutil.rmtree(args.output / _FEATURES, ignore_errors=True)
            print(args.output)

    def _loaded(self) -> Checkpoint:
        from llava_chat.model.checkpoint import load_checkpoint
        from llava_chat.training.stages import forget_projector

        args, group = self.args, self.group
        device = args.device if group.device is None else str(group.device)
        checkpoint = load_checkpoint(
            args.model,
            device="cpu" if group.sharded else device,  # shards go to the GPUs, one by one
            dtype=self._dtype,
            template=args.template,
            quantize=getattr(args, "quantize", "none"),
        )
        if getattr(args, "fresh_projector", False):
            forget_projector(checkpoint, args.seed)
        return checkpoint

    @property
    def _dtype(self) -> str:
        """What is not learned is only read: half of the memory will do on a GPU."""
        frozen = self.args.stage == "align" or self.settings.lora
        return "bfloat16" if frozen and self.bf16 and self.device_type == "cuda" else "float32"

    def _options(self, rows: Rows, steps: int, held: int) -> StageOptions:
        from llava_chat.training.schedule import LoopOptions
        from llava_chat.training.stages import StageOptions

        args, settings = self.args, self.settings
        return StageOptions(
            loop=LoopOptions(
                steps=steps,
                lr=settings.lr,
                part_lr=(
                    {} if settings.projector_lr is None else {"projector": settings.projector_lr}
                ),
                warmup_share=settings.warmup_share,
                weight_decay=settings.weight_decay,
                betas=(0.9, settings.beta2),
                clip_norm=settings.clip_norm,
                save_every=args.save_every,
                keep=args.keep,
                log_every=log_every(args, steps),
                bf16=self.bf16,
                run={
                    "data": rows.fingerprint,
                    "seed": args.seed,
                    "fresh_projector": getattr(args, "fresh_projector", False),
                    "template": args.template,
                    "samples": held,
                    "group_by_length": settings.group_by_length,
                },
            ),
            batch_size=settings.batch_size,
            micro_batch_size=args.micro_batch_size,
            max_tokens=settings.max_tokens,
            workers=args.workers,
            lora=self._lora,
            seed=args.seed,
            recompute_layers=settings.recompute_layers,
            pack=args.pack,
            template=args.template,
        )

    @property
    def _lora(self) -> Lora | None:
        from llava_chat.training.adapter.lora import Lora

        settings = self.settings
        if not settings.lora:
            return None
        return Lora(settings.lora_rank, settings.lora_alpha, dropout=settings.lora_dropout)

    def _order(self, looked: Survey, learned: np.ndarray) -> Callable[[int], int]:
        """Sample number -> row."""
        from llava_chat.training.data import in_epochs, in_groups

        settings, seed = self.settings, self.args.seed
        place_of = in_epochs(len(learned), seed)
        if settings.group_by_length:
            lengths, seen = looked.lengths[learned], looked.has_picture[learned]
            place_of = in_groups(lengths, seen, settings.batch_size, seed)
        return lambda number: int(learned[place_of(number)])

    def _features(self, checkpoint: Checkpoint) -> FeatureCache | None:
        """Where the tower's features are kept: as asked, or where pictures come again on a CPU."""
        from llava_chat.training.feature_cache import FeatureCache

        args, folder = self.args, self.args.feature_cache
        if self.group.sharded:  # one process cannot leave the tower out while another runs it
            if folder is not None:
                raise UsageError(
                    "--feature-cache cannot be used where processes share the weights (FSDP, "
                    "DeepSpeed); leave it out"
                )
            return None
        if folder is None and args.stage == "align" and self.settings.epochs > 1:
            folder = args.output / _FEATURES if self.device_type == "cpu" else None
        if folder is None:
            return None
        make_folder("--feature-cache", folder)
        numbers = f"{self._dtype} {self.bf16}"
        most = int(args.feature_cache_gb * 1e9)
        tower, count = checkpoint.model.tower, self.group.count
        return FeatureCache(folder, tower, most, numbers, processes=count)

    def _facts(self, checkpoint: Checkpoint, rows: Rows, steps: int) -> RunFacts:
        """What the run is; the first process tells all of it before it begins."""
        from llava_chat.training.processes import device_name
        from llava_chat.training.stages import template_of
        from llava_chat.training.watching.progress import RunFacts

        args = self.args
        device = self.group.device or next(checkpoint.model.projector.parameters()).device
        facts = RunFacts(
            stage=args.stage,
            recipe=args.recipe or "",
            base=named_base(args.model),
            base_revision=checkpoint.revision,
            template=template_of(args.stage, args.template) or checkpoint.template,
            data=rows.name,
            rows=len(rows),
            steps=steps,
            devices=tuple(self.group.texts([device_name(device)])),
            settings=shown(args, self.settings),
            adapter=self.settings.lora,
        )
        if self.group.first:
            told = {**facts.settings, "steps": steps, "devices": ", ".join(facts.devices)}
            lines = "".join(f"  {name}: {value}\n" for name, value in told.items())
            print(
                f"{args.stage}, with these settings:\n{lines}", file=sys.stderr, end="", flush=True
            )
            write_whole(args.output / "run.json", json.dumps(asdict(facts), indent=2) + "\n")
        return facts

    def _watchers(
        self, facts: RunFacts, checkpoint: Checkpoint, rows: Rows, held: tuple[int, ...]
    ) -> list[Watcher]:
        from llava_chat.training.watching.opening import watchers
        from llava_chat.training.watching.samples import SampleReplies

        args, replies = self.args, None
        # One process alone cannot run shards.
        if asked := [] if self.group.sharded else _asked(args.stage, rows, held):
            replies = SampleReplies(
                checkpoint,
                asked,
                args.output,
                template=facts.template,
                bf16=self.bf16,
            )
        return watchers(
            facts,
            args.output,
            log_every=log_every(args, facts.steps),
            tensorboard=args.tensorboard,
            wandb=args.wandb,
            samples=replies,
        )

    def _write(self, trained: Checkpoint, facts: RunFacts) -> None:
        """The model, or what goes on top of one, and its card: by the first process."""
        if not self.group.first:
            return
        from llava_chat.model.checkpoint import save_checkpoint
        from llava_chat.model.location import is_hub_id
        from llava_chat.training.lora_and_projector import save_lora_and_projector
        from llava_chat.training.watching.card import model_card, run_figures

        args, lora = self.args, self._lora
        if lora is None:
            save_checkpoint(
                trained, args.output, dtype=self._dtype if args.dtype == "auto" else args.dtype
            )
        else:
            revision = trained.revision if is_hub_id(args.model) else None
            save_lora_and_projector(trained, lora, args.output, base=facts.base, revision=revision)
        write_whole(args.output / "README.md", model_card(facts, run_figures(args.output)))


def _asked(stage: str, rows: Rows, held: tuple[int, ...]) -> list[Sample]:
    """The rows to ask about; one whose picture is missing or broken stops nothing here either."""
    from llava_chat.training.watching.samples import Sample

    found: list[Sample] = []
    for row in held:
        try:
            found.append(Sample.of(rows.where(row), rows.conversation(row)))
        except BrokenSampleError as error:
            print(f"{stage}: not asked about: {error}", file=sys.stderr, flush=True)
    return found
