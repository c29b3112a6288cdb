"""What people say to the model, as data: the same wish in many wordings.

`{a}` and `{b}` stand for objects ("the red circle"), `{what}` for a kind of object ("red circles").
"""

from __future__ import annotations

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")

COLOUR_QUESTIONS = (
    "What colour is {a}?",
    "What color is {a}?",
    "Which colour does {a} have?",
    "Tell me the color of {a}.",
    "What is the colour of {a}?",
    "{a}: what colour is it?",
    "Can you tell me what color {a} is?",
    "Which color is {a}?",
)
SHAPE_QUESTIONS = (
    "What shape is {a}?",
    "What is {a}?",
    "Which shape does {a} have?",
    "What is the shape of {a}?",
    "Tell me the shape of {a}.",
    "Can you name the shape of {a}?",
    "What kind of shape is {a}?",
)
SIZE_QUESTIONS = (
    "How big is {a}?",
    "What size is {a}?",
    "How large is {a}?",
    "Is {a} small, medium or large?",
    "What is the size of {a}?",
    "Tell me the size of {a}.",
)
WHERE_QUESTIONS = (
    "Where is {a}?",
    "Where can I find {a}?",
    "In which part of the picture is {a}?",
    "What is the position of {a}?",
    "Where do you see {a}?",
    "Where in the image is {a}?",
    "Where is {a} located?",
)
COUNT_ALL_QUESTIONS = (
    "How many objects are there?",
    "How many shapes are there?",
    "How many things do you see?",
    "How many shapes are in the picture?",
    "How many objects are in the image in all?",
    "Count the shapes.",
    "Count the objects in the picture.",
    "What is the number of shapes?",
    "How many items are there in total?",
    "How many figures can you see?",
)
COUNT_QUESTIONS = (
    "How many {what} are there?",
    "How many {what} do you see?",
    "How many {what} are in the picture?",
    "Count the {what}.",
    "What is the number of {what}?",
    "How many {what} can you count?",
    "Tell me how many {what} there are.",
)
EXISTENCE_QUESTIONS = (
    "Is there {one}?",
    "Is there {one} in the picture?",
    "Do you see {one}?",
    "Can you see {one}?",
    "Does the picture have {one}?",
    "Does the image contain {one}?",
    "Is {one} in the image?",
    "Are there any {what}?",
    "Do you see any {what}?",
)
RELATION_QUESTIONS = {
    "left of": (
        "What is left of {a}?",
        "What is to the left of {a}?",
        "What do you see left of {a}?",
        "What stands on the left of {a}?",
        "Which objects are to the left of {a}?",
    ),
    "right of": (
        "What is right of {a}?",
        "What is to the right of {a}?",
        "What do you see right of {a}?",
        "What stands on the right of {a}?",
        "Which objects are to the right of {a}?",
    ),
    "above": (
        "What is above {a}?",
        "What do you see above {a}?",
        "What is higher up than {a}?",
        "Which objects are above {a}?",
        "What is over {a}?",
    ),
    "below": (
        "What is below {a}?",
        "What do you see below {a}?",
        "What is under {a}?",
        "What is beneath {a}?",
        "Which objects are below {a}?",
    ),
}
RELATION_CHECKS = {
    "left of": ("Is {a} left of {b}?", "Is {a} to the left of {b}?", "Does {a} stand left of {b}?"),
    "right of": (
        "Is {a} right of {b}?",
        "Is {a} to the right of {b}?",
        "Does {a} stand right of {b}?",
    ),
    "above": ("Is {a} above {b}?", "Is {a} higher than {b}?", "Does {a} stand above {b}?"),
    "below": ("Is {a} below {b}?", "Is {a} lower than {b}?", "Is {a} under {b}?"),
}
NEXT_TO_QUESTIONS = (
    "What is next to {a}?",
    "What is nearest to {a}?",
    "What is closest to {a}?",
    "What is beside {a}?",
    "Which object is near {a}?",
)
BIGGER_QUESTIONS = (
    "Which is bigger, {a} or {b}?",
    "Which one is larger, {a} or {b}?",
    "What is bigger: {a} or {b}?",
    "Compare the sizes of {a} and {b}.",
)
SAME_COLOUR_QUESTIONS = (
    "Are {a} and {b} the same colour?",
    "Do {a} and {b} have the same color?",
    "Is {a} the same colour as {b}?",
    "Compare the colours of {a} and {b}.",
)
LIST_QUESTIONS = (
    "What is in the picture?",
    "What do you see?",
    "What can you see in this image?",
    "What is in this image?",
    "What is this?",
    "Describe the picture briefly.",
    "Give me a short description.",
    "What does the picture show?",
    "Summarize the image in one sentence.",
    "List the objects.",
    "Which shapes do you see?",
    "Describe this picture.",
    "Describe the image.",
)
DETAIL_QUESTIONS = (
    "Describe the picture in detail.",
    "Describe the image in detail.",
    "Give me a detailed description.",
    "Describe everything that you see.",
    "Tell me everything about this picture.",
    "Describe each object with its size and place.",
    "Write a full description of the image.",
    "Explain the picture in detail.",
)
READING_QUESTIONS = (
    "What does the text say?",
    "What is written in the picture?",
    "Read the text.",
    "Read it aloud.",
    "What is printed here?",
    "Can you read the text in the image?",
    "Is there any text, and what does it say?",
    "Which word or number is printed?",
)
BOX_QUESTIONS = (
    "Give the box of {a}.",
    "What is the bounding box of {a}?",
    "Give me the coordinates of {a}.",
    "Where exactly is {a}? Answer with a box.",
    "Locate {a} as [x1, y1, x2, y2].",
    "Draw a box around {a}.",
)
# References back to the object that was spoken about last.
BACK_QUESTIONS = {
    "colour": (
        "And its colour?",
        "What colour is it?",
        "What color is it?",
        "And what is its color?",
    ),
    "shape": ("And its shape?", "What shape is it?", "And what shape does it have?"),
    "size": (
        "How big is it?",
        "And its size?",
        "What size is it?",
        "Is it small, medium or large?",
    ),
    "where": ("Where is it?", "And where is it?", "Where can I find it?", "And its position?"),
    "left of": ("What is left of it?", "And to the left of it?", "And the one to its left?"),
    "right of": ("What is right of it?", "And to the right of it?", "And the one to its right?"),
    "above": ("What is above it?", "And the one above it?", "And above it?"),
    "below": ("What is below it?", "And the one below it?", "And below it?"),
    "next to": ("What is next to it?", "And what is nearest to it?", "What is beside it?"),
}
RECALL_QUESTIONS = (
    "What did I just ask about?",
    "What did I just ask you?",
    "What was my last question about?",
    "What did I ask before?",
    "Do you remember what I asked?",
)

SHAPE_SYNONYMS = {"oval": "ellipse", "diamond": "rhombus", "cross": "plus sign"}
COLOUR_SYNONYMS = {"gray": "grey", "purple": "violet", "cyan": "turquoise"}
SIZE_SYNONYMS = {"large": "big", "small": "little", "medium": "medium-sized"}
# What an "object" is called as well.
OBJECT_WORDS = ("shape", "thing", "one", "figure")
