"""What is changed in each run, and what the papers say that it costs. Data alone."""

from __future__ import annotations

from dataclasses import dataclass

from llava_chat.model.projector import ProjectorKind
from llava_chat.training.scenes.reasoned import Order

LLAVA = "[2304.08485](https://arxiv.org/abs/2304.08485), table 8"
LLAVA_1_5 = "[2310.03744](https://arxiv.org/abs/2310.03744)"


@dataclass(frozen=True)
class Variant:
    """The recipe with one thing changed.

    select_layer: of the encoder. data_share: of stage 2's conversations, each seen once. order:
    of reasoning and answer in questions that are added to stage 2; None adds none. against: the
    variant that differs in that one thing, '' for none. paper: the figure of the same change
    there; paper_difference: from the paper's own counterpart; source: where it stands.
    """

    name: str
    select_layer: int = -2
    projector: ProjectorKind = "mlp2x_gelu"
    aligned: bool = True
    data_share: float = 1.0
    order: Order | None = None
    against: str = "as it is"
    paper: str = ""
    paper_difference: str = ""
    source: str = ""


VARIANTS = (
    Variant("as it is", against="", paper="90.92", source=LLAVA),
    Variant("last layer", select_layer=-1, paper="89.96", paper_difference="-0.96", source=LLAVA),
    Variant(
        "without stage 1", aligned=False, paper="85.81", paper_difference="-5.11", source=LLAVA
    ),
    Variant(
        "linear projector",
        projector="linear",
        paper="GQA 46.8, MME 1323.8, MM-Vet 26.3",
        paper_difference="-0.5, -31.4, -1.5",
        source=f"{LLAVA_1_5}, table 2, rows 2 and 3",
    ),
    Variant(
        "half the data",
        data_share=0.5,
        paper="more than 98% of what all of it gives",
        source=f"{LLAVA_1_5}, section 5.1",
    ),
    Variant("reasoning first", order="reasoning first", against="", paper="90.92", source=LLAVA),
    Variant(
        "answer first",
        order="answer first",
        against="reasoning first",
        paper="89.77",
        paper_difference="-1.15, with the last layer (-0.19 from 89.96)",
        source=LLAVA,
    ),
)
