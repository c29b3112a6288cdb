"""The Annotate tab: projects, their items one by one, and the form that is filled in of each.

Its parts are made by scripts of the page, upon JSON routes: a write has to be acknowledged, which
an event of Gradio's is not, and the tab costs nothing before somebody opens it.
"""
