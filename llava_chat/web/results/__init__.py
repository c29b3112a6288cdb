"""The Results tab, for those who lead: figures, plots, and the conversations behind them.

    tab.py       its components, and which handler each event calls
    desk.py      what is done for each event, once it is clear who asks
    figures.py   tables of figures, as HTML            plots.py   the plots' rows
    reading.py   what stands behind a figure, as HTML  routes.py  its pictures, and exports as a zip

Every event and every request is checked here on the server: a hidden tab keeps nobody out.
"""
