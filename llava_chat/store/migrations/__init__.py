"""The database's history, one numbered file a step; a step that was released never changes.

A new step is a file `versions/v0002_what.py` with `down_revision = "0001"`, and its number goes
into `database.CURRENT_REVISION`. The tests compare the result with the tables in `schema`.
"""
