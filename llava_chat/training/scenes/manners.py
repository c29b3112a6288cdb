"""What is said about anything but a scene: greetings, thanks, limits."""

from __future__ import annotations

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
    "numbers and places. I also read a printed word, and give the box of a shape."
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
