"""The wording that each line of models was trained on, as data: a template is a few strings.

One renderer (`llava_chat.conversation.prompt`) serves them all, so that a new model line is a new
entry here and no new code. Imports errors only.

Sources: arXiv 2304.08485, 2310.03744; the conversation modules of haotian-liu/LLaVA and
LLaVA-VL/LLaVA-NeXT; for `llava_llama_3` the chat template of meta-llama/Meta-Llama-3-8B-Instruct.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from llava_chat.errors import UsageError

PICTURE = "<image>"
"""Stands in a prompt's text where a picture's features go."""

_IM_START, _IM_END = "<im_start>", "<im_end>"
_MARKED = "_im_start_end"  # after mm_use_im_start_end, as a checkpoint's config.json calls it


@dataclass(frozen=True)
class Template:
    """What is written around the messages. `open`, then the system message, then the turns.

    system: the template's own system message, '' for none.
    system_open, system_close: around a system message; nothing is written when there is none.
    system_inside: the system message stands inside the first user turn, after `user_open`.
    user_open, user_close; assistant_open, assistant_close: around the words of a turn. The cue for
    a reply is `assistant_open` without the space at its end, which the first word brings along.
    end: ends the assistant's words and is learned with them; `assistant_close` follows, unlearned.
    also_ends: tokens at which a reply is over as well: how the texts ended that the language model
    was first trained on.
    again: before every user turn but the first.
    picture_open, picture_close: around each picture, before the words of the turn that brought it.
    Special tokens may stand in them.
    acknowledged: what the assistant says to the pictures, when they make an exchange of their own.
    user_text: False where only a turn's pictures are shown, not its words (stage 1).
    trim: white space at both ends of a message is dropped; so is the last picture_close, which has
    to be white space, where no words follow.
    special: the strings above that are one token each; they are never read from a person's text.
    markers: the strings above that are ordinary text and yet tell who speaks.
    bos: the prompt begins with the tokenizer's BOS, whether or not the tokenizer adds it unasked.
    """

    name: str
    system: str
    user_open: str
    user_close: str
    assistant_open: str
    end: str
    assistant_close: str = ""
    open: str = ""
    system_open: str = ""
    system_close: str = ""
    system_inside: bool = False
    also_ends: tuple[str, ...] = ()
    again: str = ""
    picture_open: str = ""
    picture_close: str = "\n"
    acknowledged: str = ""
    user_text: bool = True
    trim: bool = False
    special: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    bos: bool = True

    @property
    def cue(self) -> str:
        """What a reply is written after."""
        return self.assistant_open.rstrip(" ")


_SYSTEM_A = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
_SYSTEM_B = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
# No space after "language.": the original has none, and models were trained on it.
_SYSTEM_C = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant is able to understand the visual content that the user provides, "
    "and assist the user with a variety of tasks using natural language."
    "The visual content will be provided with the following format: "
    "<Image>visual content</Image>."
)
_SYSTEM_D = (
    "You are a helpful language and vision assistant. "
    "You are able to understand the visual content that the user provides, "
    "and assist the user with a variety of tasks using natural language."
)
_SYSTEM_MPT = (
    "A conversation between a user and an LLM-based AI assistant. "
    "The assistant gives helpful and honest answers."
)

_LLAVA_V0 = Template(
    name="llava_v0",
    system=_SYSTEM_A,
    system_close="###",
    user_open="Human: ",
    user_close="###",
    assistant_open="Assistant: ",
    end="###",
    markers=("###", "Human:", "Assistant:"),
)
_VICUNA_V1 = Template(
    name="vicuna_v1",
    system=_SYSTEM_B,
    system_close=" ",
    user_open="USER: ",
    user_close=" ",
    assistant_open="ASSISTANT: ",
    end="</s>",
    special=("</s>",),
    markers=("USER:", "ASSISTANT:"),
)
_LLAMA_2 = Template(
    name="llava_llama_2",
    system=_SYSTEM_D,
    system_open="<<SYS>>\n",
    system_close="\n<</SYS>>\n\n",
    system_inside=True,
    user_open="[INST] ",
    user_close=" [/INST]",
    assistant_open=" ",
    end=" </s>",
    again="<s>",
    special=("<s>", "</s>"),
    markers=("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"),
)
_MPT = Template(
    name="mpt",
    system=_SYSTEM_MPT,
    system_open="<|im_start|>system\n",
    system_close="<|im_end|>",
    user_open="<|im_start|>user\n",
    user_close="<|im_end|>",
    assistant_open="<|im_start|>assistant\n",
    end="<|im_end|>",
    also_ends=("<|endoftext|>",),
    special=("<|im_start|>", "<|im_end|>"),
    bos=False,
)
_LLAMA_3 = Template(
    name="llava_llama_3",
    system=_SYSTEM_D,
    open="<|begin_of_text|>",
    system_open="<|start_header_id|>system<|end_header_id|>\n\n",
    system_close="<|eot_id|>",
    user_open="<|start_header_id|>user<|end_header_id|>\n\n",
    user_close="<|eot_id|>",
    assistant_open="<|start_header_id|>assistant<|end_header_id|>\n\n",
    end="<|eot_id|>",
    also_ends=("<|end_of_text|>",),
    trim=True,
    special=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
)
_PLAIN = Template(
    name="plain",
    system="",
    user_open="",
    user_close="",
    assistant_open="",
    end="\n",
    picture_close="",
    user_text=False,
)


def _mmtag(base: Template, name: str) -> Template:
    """`base` with the pictures in tags, as an exchange of their own."""
    return replace(
        base,
        name=name,
        system=_SYSTEM_C,
        picture_open="<Image>",
        picture_close="</Image>",
        acknowledged="Received.",
        markers=(*base.markers, "<Image>", "</Image>"),
    )


def _with_marks(base: Template) -> Template:
    """`base` with every picture between two tokens, as llava/serve and llava/eval write it."""
    return replace(
        base,
        name=base.name + _MARKED,
        picture_open=base.picture_open + _IM_START,
        picture_close=_IM_END + base.picture_close,
        special=(*base.special, _IM_START, _IM_END),
    )


# LLaVA v1's own line, of which some models were trained with marks around the pictures.
_V1_LINE = (
    _LLAVA_V0,
    _mmtag(_LLAVA_V0, "v0_mmtag"),
    replace(_VICUNA_V1, name="llava_v1", system=_SYSTEM_A),
    _mmtag(_VICUNA_V1, "v1_mmtag"),
    _VICUNA_V1,
)
_ALL = (
    *_V1_LINE,
    _LLAMA_2,
    replace(_LLAMA_2, name="mistral_instruct", system="", again="", special=("</s>",)),
    _MPT,
    replace(_MPT, name="chatml_direct", system="Answer the questions."),
    replace(
        _MPT,
        name="qwen_1_5",
        system="You are a helpful assistant.",
        system_close="<|im_end|>\n",
        user_close="<|im_end|>\n",
        assistant_close="\n",
    ),
    _LLAMA_3,
    _PLAIN,
    *(_with_marks(each) for each in _V1_LINE),
)

TEMPLATES: Mapping[str, Template] = MappingProxyType({each.name: each for each in _ALL})
"""Every template by its name."""

DEFAULT_TEMPLATE = "vicuna_v1"
"""What LLaVA-1.5 was trained and evaluated on (arXiv 2310.03744), and the bundled model too."""


def template_named(name: str) -> Template:
    """The template of that name. Raises UsageError that lists the names there are.

    >>> template_named("vicuna_v1").cue
    'ASSISTANT:'
    >>> template_named("vicuna")
    Traceback (most recent call last):
    llava_chat.errors.UsageError: There is no template 'vicuna'. Choose one of llava_v0, v0_mmtag, \
llava_v1, v1_mmtag, vicuna_v1, llava_llama_2, mistral_instruct, mpt, chatml_direct, qwen_1_5, \
llava_llama_3, plain, llava_v0_im_start_end, v0_mmtag_im_start_end, llava_v1_im_start_end, \
v1_mmtag_im_start_end, vicuna_v1_im_start_end.
    """
    if name not in TEMPLATES:
        known = ", ".join(TEMPLATES)
        raise UsageError(f"There is no template {name!r}. Choose one of {known}.")
    return TEMPLATES[name]


def has_picture_marks(name: str) -> bool:
    """Whether a template has `<im_start>` and `<im_end>` around every picture.

    >>> has_picture_marks("llava_v0_im_start_end"), has_picture_marks("llava_v0")
    (True, False)
    """
    return _IM_START in template_named(name).special


def with_picture_marks(name: str) -> str:
    """That template with `<im_start>` and `<im_end>` around every picture, for a model that was so
    trained (`mm_use_im_start_end` in its config.json); one that has them stays as it is.

    Raises UsageError where there is none: only LLaVA v1's own line has them, and of it not stage 1
    (`plain`), for which the reference throws everything but the picture itself away.

    >>> with_picture_marks("vicuna_v1")
    'vicuna_v1_im_start_end'
    >>> with_picture_marks("plain")
    Traceback (most recent call last):
    llava_chat.errors.UsageError: The template 'plain' has no variant with <im_start> and <im_end> \
around the pictures; llava_v0, v0_mmtag, llava_v1, v1_mmtag, vicuna_v1 have one.
    """
    if has_picture_marks(name):
        return name
    marked = name + _MARKED
    if marked not in TEMPLATES:
        known = ", ".join(each.name for each in _V1_LINE)
        raise UsageError(
            f"The template {name!r} has no variant with {_IM_START} and {_IM_END} around the "
            f"pictures; {known} have one."
        )
    return marked
