"""Fewer captions that speak of the same things (arXiv 2304.08485, section 4.1: CC3M to 595K).

    reading.py    captions of a file, row by row, and the rows that are kept
    phrases.py    the noun phrases of each caption, by spaCy
    choice.py     which captions are kept, so that every phrase stays covered
    coverage.py   how often phrases occur before and after: a table and a plot

Imports numpy, training's strict JSON and errors; spaCy only where phrases are looked for.
"""
