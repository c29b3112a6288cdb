"""The tokenizer of a checkpoint: found, read, and held against the model that it comes with.

Imports the modules beside it, transformers, templates and errors.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.utils.import_utils import is_protobuf_available, is_sentencepiece_available

from llava_chat.errors import CheckpointError
from llava_chat.model.file_names import CONFIG_NAME
from llava_chat.model.layouts.description import Description
from llava_chat.model.sentencepiece_file import MODEL_NAME, read_sentencepiece
from llava_chat.model.weight_files import briefly, one_line, read_json
from llava_chat.templates import PICTURE


def load_tokenizer(folder: Path, description: Description) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder, whose every id has a row in the model's table of words.

    The marks around pictures are added where the model has them and the tokenizer does not, in the
    authors' order (haotian-liu/LLaVA, llava/model/builder.py). Raises CheckpointError when it
    cannot be read, or does not belong to the configuration.
    """
    check_tokenizer_files(folder)
    path = folder / "tokenizer_config.json"
    if path.is_file() and "auto_map" in read_json(path):
        raise CheckpointError(f"{path} asks to run code of its own (auto_map); that is never done.")
    try:
        tokenizer = _read(folder, description)
    except Exception as error:  # the tokenizers library raises plain Exception for a damaged file
        raise CheckpointError(
            f"The tokenizer in {folder} cannot be read: {one_line(error)}"
        ) from error
    for marks in description.picture_tokens:
        tokenizer.add_tokens([*marks], special_tokens=True)  # of those it knows, none
    config = description.config
    rows = config.text.vocab_size
    beyond = [
        token
        for token, number in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        if number >= rows and number != config.image_token_id
    ]
    if beyond:
        raise CheckpointError(
            f"The tokenizer in {folder} knows {briefly(map(repr, beyond))}, beyond the {rows} "
            "words of the model: they do not belong together."
        )
    _check_picture_token(tokenizer, config.image_token_id, folder)
    return tokenizer


def picture_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of the picture's token, which the tokenizer learns if it does not know it."""
    tokenizer.add_tokens([PICTURE], special_tokens=True)
    return int(tokenizer.get_vocab()[PICTURE])


def without_tokens(
    tokenizer: PreTrainedTokenizerBase, description: Description
) -> PreTrainedTokenizerBase:
    """The tokenizer without added tokens that the table of words has no rows for."""
    rows = description.config.text.vocab_size
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    kept = [each for each in content["added_tokens"] if each["id"] < rows]
    if len(kept) == len(content["added_tokens"]):
        return tokenizer
    content["added_tokens"] = kept
    special = {
        name: str(token)
        for name in ("bos_token", "eos_token", "unk_token", "pad_token")
        if (token := getattr(tokenizer, name)) and token in {each["content"] for each in kept}
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)), **special
    )


def check_tokenizer_files(folder: Path) -> None:
    """Raise CheckpointError when a folder has no tokenizer, or one that cannot be read here.

    transformers says of both that tiktoken is missing.
    """
    if any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        return
    if not (folder / MODEL_NAME).is_file():
        raise CheckpointError(f"{folder} holds no tokenizer.json; download it again.")
    needed = {
        "sentencepiece": is_sentencepiece_available(),
        "protobuf": is_protobuf_available(),
    }
    lacking = [package for package, is_there in needed.items() if not is_there]
    if lacking:
        raise CheckpointError(
            f"{folder} holds only a {MODEL_NAME}: `pip install {' '.join(lacking)}` to read it, "
            "or save it once elsewhere with transformers' AutoTokenizer to get a tokenizer.json."
        )


def _read(folder: Path, description: Description) -> PreTrainedTokenizerBase:
    """A tokenizer.json is taken as it is: transformers' own LLaMA class makes another of it."""
    tokenizer: PreTrainedTokenizerBase
    if (folder / "tokenizer.json").is_file():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        return tokenizer
    if not (folder / "vocab.json").is_file():
        return read_sentencepiece(folder)
    tokenizer = AutoTokenizer.from_pretrained(
        folder,
        config=description.config.text,  # or it reads config.json, and warns of what that is not
        local_files_only=True,
        trust_remote_code=False,
    )
    return tokenizer


def _check_picture_token(
    tokenizer: PreTrainedTokenizerBase, image_token_id: int, folder: Path
) -> None:
    """Raise CheckpointError when text can hold the token that stands for a picture's features."""
    known = image_token_id in tokenizer.get_vocab().values()
    added = image_token_id in tokenizer.added_tokens_decoder
    if (known and not added) or image_token_id in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        word = tokenizer.convert_ids_to_tokens(image_token_id)
        raise CheckpointError(
            f"image_token_index in {folder / CONFIG_NAME} is {image_token_id}, which its tokenizer "
            f"uses for {word!r}; name the id of {PICTURE}."
        )
