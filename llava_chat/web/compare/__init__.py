"""The Compare tab: one question to two contestants, a vote, and who they were.

    contestants.py   what can answer, and which two it is
    pairs.py         the two sides of a comparison: asked, stopped and tried again together
    rounds.py        the turns as HTML, with the names once they may be known
    layout.py        the components      showing.py   what they show
    handlers.py      the events          tab.py       adds the tab

Imports the chat's turns and rendering, feedback and the engines; gradio in layout, showing,
handlers and tab.
"""
