"""From bytes to a checked, upright RGB picture, and the views of it that models look at.

    reader.py   bytes or a path -> Picture, or a PictureError with a sentence for the sender
    outline.py  a picture's size from its header, nothing decoded
    folder.py   a file below one folder, by the name that a row gives it
    limits.py   what one picture may cost
    workers.py  the child processes that decode, kept warm and replaced when they die
    decoder/    what runs in such a child: format, header, decoding, orientation, transparency
    picture.py  the checked Picture, its identity, its thumbnail and its stored form
    views.py    pure functions from pixels to what an encoder reads: pad, square, stretch, normalise
    tiles.py    the same for a picture in several views: LLaVA-1.6's anyres

Needs Pillow and numpy only; imports no part of llava_chat but errors.
"""

from __future__ import annotations

from llava_chat.image.folder import check_name, file_below
from llava_chat.image.limits import PictureLimits
from llava_chat.image.outline import outline_of
from llava_chat.image.picture import Picture, picture_from_image, png_bytes, thumbnail
from llava_chat.image.reader import read_picture, warm_up
from llava_chat.image.tiles import views_of
from llava_chat.image.views import clip_pixels, normalised, pad_to_square, square, view_of
from llava_chat.image.workers import close_decoders

__all__ = [
    "Picture",
    "PictureLimits",
    "check_name",
    "clip_pixels",
    "close_decoders",
    "file_below",
    "normalised",
    "outline_of",
    "pad_to_square",
    "picture_from_image",
    "png_bytes",
    "read_picture",
    "square",
    "thumbnail",
    "view_of",
    "views_of",
    "warm_up",
]
