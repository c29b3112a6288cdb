"""The commands but `serve`: one module each, imported when it is asked for.

They import anything but the page and the store. Only `__main__` runs them.
"""
