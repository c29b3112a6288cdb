"""How the ids in token_ids.json were found: by the reference's procedure, and none of our code.

A prompt is split at its pictures and special tokens, SentencePiece itself tokenises each piece, and
one BOS goes before all: `tokenizer_image_token` of haotian-liu/LLaVA, on transformers' slow LLaMA
tokenizer of that time. The two together, llava-torch 1.2.2.post1 on transformers 4.37.2, give every
one of these ids but where a case says "differs"; transformers before 4.34 gives them too, but ate
white space beside `<im_start>` and `<im_end>`. The prompts stand in the file already; they are what
that llava/conversation.py writes, and for `qwen_1_5` and `llava_llama_3` what LLaVA-VL/LLaVA-NeXT's
does, with Meta's chat template.

    pip install sentencepiece
    python tests/derive_token_ids.py TOKENIZER.model

writes the ids anew, and those pieces of the vocabulary that occur in the texts, by score. Whatever
is cut out of the texts, these pieces give the ids of the whole vocabulary for it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

IMAGE_ID = -200  # IMAGE_TOKEN_INDEX of the reference
MARKS = {"<im_start>": 32000, "<im_end>": 32001}  # as `add_tokens` numbers them
SPECIAL = {"<s>": 1, "</s>": 2, "<image>": IMAGE_ID, **MARKS}
FILE = Path(__file__).with_name("token_ids.json")
# Of what a person types, this tells who speaks in templates of that name, so it is spelled.
MARKERS = {
    "v0": ("###", "Human:", "Assistant:"),
    "v1": ("USER:", "ASSISTANT:"),
    "llama_2": ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"),
    "mistral": ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"),
    "mmtag": ("<Image>", "</Image>"),
}
DIFFERENCES = {
    True: "on purpose: what people type never becomes a special token, nor a marker's ids",
    False: "on purpose: a message that ends in a space leaves the marker behind it as it is",
}
# Private characters, which SentencePiece joins to nothing: for a special token of the template's,
# for a marker that was typed, and for a cut.
OWN, TYPED, CUT = 0xE000, 0xE100, "\uf8ff"
_PIECES = re.compile("(" + "|".join(map(re.escape, SPECIAL)) + ")")


def reference_ids(prompt: str, words: Any) -> list[int]:
    """The reference's ids of a prompt, in which anybody's `</s>` is the special token."""
    ids = [1]
    for piece in _PIECES.split(prompt):
        ids += [SPECIAL[piece]] if piece in SPECIAL else words.encode(piece) if piece else []
    return ids


def own_ids(prompt: str, markers: list[str], texts: list[str], words: Any) -> list[int]:
    """The same, but what people typed is text: specials as they are, markers letter by letter.

    And a space that a message ends in does not become a part of the marker behind it.
    """
    masked, rest = "", prompt
    for text in texts:
        before, found, after = rest.partition(text) if text else ("", "", "")
        if not found:  # no words, or those that stage 1 leaves out
            continue
        for number, marker in enumerate(markers):
            text = text.replace(marker, chr(TYPED + number))
        cut = CUT if found.endswith(" ") and after.startswith(tuple(markers)) else ""
        masked, rest = masked + _own(before) + text + cut, after
    ids = [1]
    for piece in re.split(f"([{chr(OWN)}-{chr(OWN + len(SPECIAL))}])", masked + _own(rest)):
        if piece and OWN <= ord(piece[0]) < TYPED:
            ids.append([*SPECIAL.values()][ord(piece) - OWN])
        elif piece:
            ids += words.encode(piece)
    for number, marker in enumerate(markers):
        spelled = [one for letter in marker for one in words.encode("\n" + letter)[2:]]
        ids = _replaced(ids, chr(TYPED + number), spelled)
    return _replaced(ids, CUT, [])


def _own(text: str) -> str:
    for number, special in enumerate(SPECIAL):
        text = text.replace(special, chr(OWN + number))
    return text


def _replaced(ids: list[int], stand_in: str, new: list[int]) -> list[int]:
    """The ids with `new` for each stand-in, which is the byte tokens of its three bytes."""
    old = [3 + byte for byte in stand_in.encode()]
    for at in range(len(ids) - 3, -1, -1):
        if ids[at : at + 3] == old:
            ids = [*ids[:at], *new, *ids[at + 3 :]]
    return ids


def derive(words: Any, data: dict[str, Any]) -> None:
    """Fill in the ids of every case, and the pieces."""
    cases = [case for case in data["cases"] if "ids" in case]
    for case in cases:
        talk = data["conversations"][case["conversation"]]
        texts = [talk["system"] or "", *(turn["text"] for turn in talk["turns"])]
        markers = [m for name, group in MARKERS.items() if name in case["template"] for m in group]
        case["ids"] = own_ids(case["prompt"], markers, texts, words)
        case.pop("differs", None)
        if case["ids"] != reference_ids(case["prompt"], words):
            typed = any(each in text for text in texts for each in (*markers, *SPECIAL))
            case["differs"] = DIFFERENCES[typed]
    tokenised = [piece for case in cases for piece in _PIECES.split(case["prompt"])]
    tokenised += [case["prompt"] for case in cases]  # where what was typed is not split off
    tokenised += [marker for group in MARKERS.values() for marker in group]
    text = "\n".join(f" {piece}" for piece in tokenised).replace(" ", "▁")
    pieces = [(words.id_to_piece(i), i) for i in range(3 + 256, words.get_piece_size())]
    kept = [(piece, i) for piece, i in pieces if piece in text]
    data["pieces"] = sorted(kept, key=lambda each: (-words.get_score(each[1]), each[1]))


def written(data: dict[str, Any]) -> str:
    """JSON with a line for each conversation, case and group of pieces."""

    def lines(rows: list[str]) -> str:
        return ",\n".join(rows)

    def dump(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    talks = [f"{dump(name)}: {dump(talk)}" for name, talk in data["conversations"].items()]
    pieces = data["pieces"]
    groups = [dump(pieces[i : i + 8])[1:-1] for i in range(0, len(pieces), 8)]
    return (
        f'{{"conversations": {{\n{lines(talks)}\n}},\n'
        f'"cases": [\n{lines([dump(case) for case in data["cases"]])}\n],\n'
        f'"pieces": [\n{lines(groups)}\n]}}\n'
    )


if __name__ == "__main__":
    from sentencepiece import SentencePieceProcessor

    content = json.loads(FILE.read_text(encoding="utf-8"))
    derive(SentencePieceProcessor(model_file=sys.argv[1]), content)
    FILE.write_text(written(content), encoding="utf-8")
