"""The scenes world: pictures of shapes that this project draws itself, and talk about them.

The bundled model learns from it, in the order of the LLaVA papers:

    world.py, draw.py, other_pictures.py    what is in a picture, and how it looks
    phrases.py, wording.py, naming.py       how people speak of it
    exchange.py, questions.py, talk.py      what they ask, and the right answers
    dialogue.py                             a picture and the talk about it, as it is trained
    tokenizer.py                            a byte-pair vocabulary of the LLaMA kind
    contrastive.py                          the encoder alone: patches against phrases
    word_grid.py                            the language model alone: grids of words
    recipe.py                               everything in order, then stages 1 and 2
"""
