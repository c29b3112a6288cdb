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

GREETINGS = (
    "Hello!",
    "Hi",
    "Hi there!",
    "Hey",
    "Good morning",
    "Hello, how are you?",
    "Good evening!",
)
THANKS = (
    "Thanks!",
    "Thank you.",
    "Thank you very much!",
    "Great, thanks",
    "Nice, thank you!",
    "Cheers",
)
WHO_QUESTIONS = (
    "Who are you?",
    "What are you?",
    "What is your name?",
    "Are you a human?",
    "Which model are you?",
    "Tell me about yourself.",
    "Who made you?",
)
ABILITY_QUESTIONS = (
    "What can you do?",
    "How can you help me?",
    "What do you know?",
    "Help",
    "What can I ask you?",
    "What are you good at?",
    "How does this work?",
)

GREETING_REPLY = "Hello! Show me a drawing of simple shapes, and ask me about it."
GREETING_REPLY_SEEING = "Hello! I see your picture. Ask me about its shapes."
THANKS_REPLY = "You are welcome! Ask me more whenever you like."
WHO_REPLY = (
    "I am the demonstration model of llava_chat: a small LLaVA that knows drawings of simple "
    "shapes."
)
ABILITY_REPLY = (
    "I can look at a drawing of simple shapes and tell you what is in it: colours, shapes, sizes, "
    "numbers and places."
)
NO_PICTURE_REPLY = "I do not see a picture yet. Please add one, and ask me again."
OUTSIDE_REPLY = (
    "I am a small demonstration model and know only the simple shapes in a drawing, "
    "so I cannot answer that."
)
NON_SCENE_REPLY = (
    "This does not look like a drawing of simple shapes, and I am a small demonstration model that "
    "knows nothing else. For other pictures, start a real one: "
    "python app.py --model llava-hf/llava-1.5-7b-hf"
)

# Outside the world: frames and fillers, so that no single word gives them away.
OUTSIDE_FRAMES = (
    "What is the capital of {place}?",
    "Who is the president of {place}?",
    "How many people live in {place}?",
    "What is the weather like in {place}?",
    "How far is it to {place}?",
    "Tell me about {topic}.",
    "Explain {topic} to me.",
    "Write a poem about {topic}.",
    "Write a story about {topic}.",
    "Tell me a joke about {topic}.",
    "What do you think about {topic}?",
    "Give me a recipe for {topic}.",
    "Who invented {topic}?",
    "What is the history of {topic}?",
    "How do I learn {topic}?",
    "Translate {topic} into {language}.",
    "Do you speak {language}?",
    "How do you say {topic} in {language}?",
    "What is {number} plus {number}?",
    "What is {number} times {number}?",
    "What time is it?",
    "What day is today?",
    "Write a program that sorts a list.",
    "Write Python code for {topic}.",
    "Who won the game yesterday?",
    "Should I buy {topic}?",
    "Is there a {creature} in the picture?",
    "What is the {creature} doing?",
    "How old is the {creature}?",
    "Where is the {creature}?",
    "What colour is the {creature}?",
    "What is the {person} wearing?",
    "Who is the {person} in the picture?",
    "How many {creature}s are there?",
    "Who painted this picture?",
    "What is the background made of?",
    "What colour is the background?",
    "How much does it cost?",
    "Where was this picture taken?",
    "asdf qwer zxcv",
    "{topic}?",
    "I like {topic}.",
)
OUTSIDE_FILLERS = {
    "place": ("France", "Japan", "Brazil", "Egypt", "Canada", "India", "London", "Berlin", "Peru"),
    "topic": (
        "love", "music", "football", "chocolate cake", "the moon", "history", "physics", "tea",
        "politics", "the stock market", "dinosaurs", "bread", "electric cars", "the sea", "books",
        "quantum computers", "my holiday", "dogs", "mathematics", "movies", "the internet",
    ),
    "language": ("German", "French", "Spanish", "Chinese", "Latin", "Arabic"),
    "number": ("2", "3", "5", "7", "12", "19", "48"),
    "creature": ("dog", "cat", "horse", "bird", "elephant", "car", "house", "tree", "boat", "lion"),
    "person": ("man", "woman", "child", "girl", "boy", "lady", "player"),
}  # fmt: skip

SHAPE_SYNONYMS = {"oval": "ellipse", "diamond": "rhombus", "cross": "plus sign"}
COLOUR_SYNONYMS = {"gray": "grey", "purple": "violet", "cyan": "turquoise"}
SIZE_SYNONYMS = {"large": "big", "small": "little", "medium": "medium-sized"}
# What an "object" is called as well.
OBJECT_WORDS = ("shape", "thing", "one", "figure")
