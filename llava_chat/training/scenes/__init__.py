"""The scenes world: pictures of shapes that this project draws itself, and talk about them.

The bundled model learns from it, in the order of the LLaVA papers:

    world.py, outlines.py, boxes.py         what is in a picture, and where
    draw.py, printed.py, other_pictures.py  how it looks, and what is no such picture
    phrases.py, manners.py                  how people ask, greet and thank
    wording.py, naming.py, relations.py     how an answer names things and where they are
    exchange.py, questions.py, talk.py      what they ask, and the right answers
    dialogue.py, practice.py                a picture and the talk about it, as it is trained
    tokenizer.py                            a byte-pair vocabulary of the LLaMA kind
    regions.py, contrastive.py              the encoder alone: patches against phrases
    word_grid.py                            the language model alone: grids of words
    side_by_side.py, recipe.py              everything in order, then stages 1 and 2
"""
