"""Drawings by other code than the bundled model learned from, and questions about them.

The questions were written down before the model was asked; a pattern is what a right answer, in
lower case, must match.
"""

from __future__ import annotations

import math

from PIL import Image, ImageDraw, ImageFont


def three_shapes() -> Image.Image:
    picture = Image.new("RGB", (640, 480), "white")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((60, 60, 240, 240), fill="red")
    pen.rectangle((420, 90, 550, 220), fill="blue")
    pen.polygon([(320, 260), (400, 420), (240, 420)], fill="green")
    return picture


def corner_shapes() -> Image.Image:
    picture = Image.new("RGB", (600, 600), (225, 225, 225))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((36, 186, 264, 414), fill="gold")
    pen.rectangle((472, 52, 568, 148), fill="black")
    pen.polygon([(460, 400), (538, 556), (382, 556)], fill="purple")
    return picture


def night_shapes() -> Image.Image:
    picture = Image.new("RGB", (800, 500), (25, 30, 60))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((46, 36, 174, 164), fill="white")
    pen.ellipse((336, 336, 464, 464), fill="white")
    pen.regular_polygon((650, 148, 100), 6, fill="orange", rotation=30)
    pen.polygon([(430, 46), (490, 110), (430, 174), (370, 110)], fill="hotpink")
    pen.rectangle((30, 346, 230, 456), fill="cyan")
    return picture


def lone_star() -> Image.Image:
    picture = Image.new("RGB", (300, 300), "white")
    turns = [math.radians(36 * k - 90) for k in range(10)]
    radii = [58, 24] * 5
    rays = zip(turns, radii, strict=True)
    points = [(150 + r * math.cos(t), 150 + r * math.sin(t)) for t, r in rays]
    ImageDraw.Draw(picture).polygon(points, fill="green")
    return picture


def shop_sign() -> Image.Image:
    picture = Image.new("RGB", (600, 600), "lightyellow")
    pen = ImageDraw.Draw(picture)
    pen.text((110, 70), "OPEN", fill="black", font=ImageFont.load_default(130), stroke_width=3)
    pen.rectangle((90, 320, 290, 520), fill="blue")
    pen.ellipse((400, 400, 500, 500), fill="red")
    return picture


def door_number() -> Image.Image:
    picture = Image.new("RGB", (640, 480), (40, 60, 40))
    pen = ImageDraw.Draw(picture)
    pen.text((360, 60), "42", fill="white", font=ImageFont.load_default(130), stroke_width=2)
    pen.polygon([(200, 200), (300, 400), (100, 400)], fill="orange")
    return picture


def turned_and_covered() -> Image.Image:
    picture = Image.new("RGB", (500, 500), "white")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((40, 40, 220, 220), fill="orange")
    pen.rectangle((185, 150, 300, 265), fill="purple")
    card = Image.new("RGBA", (190, 110), "green").rotate(-25, Image.Resampling.BICUBIC, expand=True)
    picture.paste(card, (240, 300), card)
    return picture


def photograph() -> Image.Image:
    """Grain over soft colours, as no drawing has."""
    soft = Image.effect_noise((48, 36), 120).resize((640, 480), Image.Resampling.BICUBIC)
    grain = Image.effect_noise((640, 480), 60)
    return Image.merge("RGB", (soft, Image.blend(soft, grain, 0.4), grain))


CONVERSATIONS = (
    (
        three_shapes,
        ("Is there a green triangle?", "^yes"),
        ("Is there a blue triangle?", "^no"),
    ),
    (
        corner_shapes,
        ("How many objects are there?", "three"),
        ("What colour is the square?", "black"),
        ("How big is it?", "small"),
        ("Where is the triangle?", "bottom right"),
        ("What shape is the yellow object?", "circle"),
        ("Is there a red object?", "^no"),
        ("What is left of the triangle?", "^a yellow circle is"),
        ("Is the square above the triangle?", "^yes"),
        ("Which is bigger, the circle or the square?", "circle is bigger"),
        ("Where is the green star?", "no green star"),
    ),
    (
        night_shapes,
        ("How many circles are there?", "two"),
        ("How many shapes are there in all?", "five"),
        ("Is there a blue circle?", "^no"),
        ("Is there a pink diamond?", "^yes"),
        ("Where is the hexagon?", "top right"),
        ("What colour is the rectangle?", "cyan"),
        ("Where is it?", "bottom left"),
        ("Count the white objects.", "two"),
        ("What is the pink thing?", "diamond"),
        ("Describe the picture.", "(?=.*orange hexagon)(?=.*pink diamond)(?=.*cyan rectangle)"),
    ),
    (
        lone_star,
        ("What is this?", "green star"),
        ("What colour is it?", "green"),
        ("How big is it?", "large"),
        ("Where is it?", "middle"),
        ("Are there any circles?", "^no"),
    ),
)
FURTHER_CONVERSATIONS = (
    (
        shop_sign,
        ("What does the text say?", r"\bopen\b"),
        ("What colour is the square?", "blue"),
        ("Where is the circle?", "bottom right"),
        ("How many objects are there?", "two"),
        ("Describe the picture.", "(?=.*open)(?=.*blue square)(?=.*red circle)"),
    ),
    (
        door_number,
        ("Which word or number is printed?", r"\b42\b"),
        ("What shape do you see?", "triangle"),
    ),
    (
        turned_and_covered,
        ("What is in the picture?", "(?=.*orange circle)(?=.*purple square)(?=.*green rectangle)"),
        ("Is the purple square above the green rectangle?", "^yes"),
        ("What does the text say?", "no text"),
    ),
    (three_shapes, ("Is there any text, and what does it say?", "no text")),
)
# Left, top, right, bottom in pixels, as they are drawn above.
BOXES = (
    (three_shapes, "the red circle", (60, 60, 240, 240)),
    (three_shapes, "the square", (420, 90, 550, 220)),
    (three_shapes, "the triangle", (240, 260, 400, 420)),
    (corner_shapes, "the yellow circle", (36, 186, 264, 414)),
    (night_shapes, "the rectangle", (30, 346, 230, 456)),
    (lone_star, "the star", (92, 92, 208, 208)),
)
