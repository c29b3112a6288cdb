"""The papers' settings for each stage, and what a stage is trained with when nothing is said.

Imports nothing but errors: a command shows them before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

from llava_chat.errors import UsageError

Stage = Literal["align", "finetune"]


@dataclass(frozen=True)
class StageSettings:
    """How a stage learns.

    batch_size: samples a step, of all processes. lr: AdamW's peak learning rate; projector_lr:
    another one for the projector. warmup_share: of the steps. beta2: AdamW's second decay, the
    first is 0.9. clip_norm: of the gradient. max_tokens: longer samples are cut. lora: a LoRA in
    place of the language model's own weights. recompute_layers: every so many of its layers keep
    no activations; 0 is none. group_by_length: batches of one modality and of like lengths.
    """

    lr: float
    epochs: float = 1.0
    batch_size: int = 32
    projector_lr: float | None = None
    warmup_share: float = 0.03
    weight_decay: float = 0.0
    beta2: float = 0.999
    clip_norm: float = 1.0
    max_tokens: int = 2048
    lora: bool = False
    lora_rank: int = 128
    lora_alpha: int = 256
    lora_dropout: float = 0.05
    recompute_layers: int = 0
    group_by_length: bool = False

    def changed(self, given: Mapping[str, object]) -> StageSettings:
        """With what somebody asked for; None is what nobody did."""
        asked = {name: value for name, value in given.items() if value is not None}
        return replace(self, **asked)  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, str | int | float | bool | None]:
        """Every setting by its name; a LoRA's only with one."""
        return {
            name: value
            for name, value in asdict(self).items()
            if self.lora or not name.startswith("lora_")
        }


# LLaVA-1.5's rates (arXiv 2310.03744, table 9).
DEFAULTS: dict[Stage, StageSettings] = {
    "align": StageSettings(lr=1e-3),
    "finetune": StageSettings(lr=2e-5),
}

# What all of them share: AdamW, weight decay 0, warm-up 3 %, cosine, 2048 tokens, gradient
# checkpointing (haotian-liu/LLaVA, scripts/pretrain.sh, finetune.sh and v1_5/*.sh); betas and the
# clipping norm are those of transformers' Trainer, which these scripts leave as they are.
_COMMON = StageSettings(lr=0.0, recompute_layers=1)

RECIPES: dict[str, dict[Stage, StageSettings]] = {
    # arXiv 2304.08485, section 5: 128 and 32 a batch, 2e-3 and 2e-5, one epoch and three.
    "llava-1": {
        "align": replace(_COMMON, lr=2e-3, batch_size=128),
        "finetune": replace(_COMMON, lr=2e-5, batch_size=32, epochs=3.0),
    },
    # arXiv 2310.03744, table 9; grouping as in scripts/v1_5/finetune.sh.
    "llava-1.5": {
        "align": replace(_COMMON, lr=1e-3, batch_size=256),
        "finetune": replace(_COMMON, lr=2e-5, batch_size=128, group_by_length=True),
    },
    # scripts/v1_5/finetune_lora.sh: rank 128, alpha 256, 2e-4, the projector 2e-5; dropout 0.05 is
    # the default of llava/train/train.py. Stage 1 is that of llava-1.5.
    "llava-1.5-lora": {
        "align": replace(_COMMON, lr=1e-3, batch_size=256),
        "finetune": replace(
            _COMMON, lr=2e-4, projector_lr=2e-5, batch_size=128, group_by_length=True, lora=True
        ),
    },
}


def settings_for(stage: Stage, recipe: str | None, given: Mapping[str, object]) -> StageSettings:
    """A recipe's settings, or the defaults, with what somebody asked for instead.

    Raises UsageError for what no stage can be trained with.

    >>> settings_for("finetune", "llava-1.5-lora", {"batch_size": 16, "epochs": None}).batch_size
    16
    """
    settings = (DEFAULTS if recipe is None else RECIPES[recipe])[stage].changed(given)
    if settings.lora and stage == "align":
        raise UsageError("--lora is for finetune: align leaves the language model as it is")
    if not 0 <= settings.lora_dropout < 1:
        raise UsageError("--lora-dropout must be a share from 0 up to, but not, 1")
    if not 0 <= settings.warmup_share <= 1:
        raise UsageError("--warmup-share must be a share from 0 to 1")
    if not 0 < settings.beta2 < 1:
        raise UsageError("--beta2 must be between 0 and 1")
    return settings
