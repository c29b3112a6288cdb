"""How long a row is in a model's tokens, told without the model's weights.

Imports conversation, image, tokens, `model` and the modules of training beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from llava_chat.conversation import Conversation
from llava_chat.image import Picture
from llava_chat.model.anyres import token_count
from llava_chat.model.encoder import image_size_px, patches_per_side, tokens_per_picture
from llava_chat.model.llava import LlavaConfig
from llava_chat.model.sources import Search, find_sources
from llava_chat.model.template_choice import choose_template
from llava_chat.model.tokenizer_files import load_tokenizer
from llava_chat.templates import template_named
from llava_chat.tokens import Tokenizer, tokenize
from llava_chat.training.batch import check_cut


@dataclass(frozen=True)
class Measure:
    """A model's tokenizer, template and configuration.

    tiled: how many rows a picture takes depends on its size.
    """

    tokenizer: Tokenizer
    template: str
    config: LlavaConfig

    @property
    def tiled(self) -> bool:
        """Whether pictures are seen in tiles."""
        return self.config.image_aspect == "anyres"

    def tokens(self, conversation: Conversation, name: str, max_tokens: int) -> int:
        """How many tokens a conversation has, uncut.

        Raises RowProblem when nothing of it is learned once it is cut after max_tokens.
        """
        prompt = tokenize(
            conversation,
            self.tokenizer,
            template=self.template,
            picture_tokens=self._picture_tokens,
            image_token_id=self.config.image_token_id,
            cue=False,
        )
        check_cut(prompt, max_tokens, name)
        return len(prompt.ids)

    def _picture_tokens(self, picture: Picture) -> int:
        config = self.config
        if not self.tiled:
            return tokens_per_picture(config.vision, config.select_feature)
        return token_count(
            picture.width,
            picture.height,
            grid_pinpoints=config.grid_pinpoints,
            size_px=image_size_px(config.vision),
            patches_per_side=patches_per_side(config.vision),
        )


def measure_of(model: str, template: str | None = None) -> Measure:
    """That of `scenes`, a folder or a Hub id, of which the small files alone are fetched.

    Raises UsageError for an unknown template, CheckpointError.
    """
    if template is not None:
        template_named(template)
    sources = find_sources(model, Search(outline=True))
    description = sources.description
    tokenizer = load_tokenizer(sources.folder, description)
    spoken = choose_template(description, tokenizer, sources.located.id, asked=template)
    return Measure(tokenizer, spoken, description.config)


def stand_in(width: int, height: int) -> Picture:
    """A picture of that size of which nothing is looked at.

    >>> stand_in(640, 480).width
    640
    """
    return Picture(f"{width}x{height}", width, height, _PIXEL)


_PIXEL = Image.new("RGB", (1, 1))
