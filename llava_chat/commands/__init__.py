"""The commands but `serve`: one module each, imported when it is asked for.

They import anything but the page, and the store only where what people wrote is asked for. Only
`__main__` runs them.
"""
