"""What people say, kept where it survives this machine: a private dataset of the Hugging Face Hub.

    lines.py      a row or a removal as one line of a file; many files as one state
    journal.py    the file of this process: only ever added to, until something is removed
    hub.py        the dataset itself: what is in it, downloaded, pushed, tidied
    restoring.py  its files back into the database
    work.py       what a push is made of: the file, pictures, tidying up; folder.py: where
    keeping.py    all of it in the background, and what could be lost, in a sentence

Each process has a file of its own, named by a UUID, that huggingface_hub's CommitScheduler pushes.
A line is a row of the database as it is and not a row of an export: an export hides whose it is
anew each time, so that nobody would find theirs again after a restart, and it leaves out what was
not judged. Lines are written before a push and not with each write: a database that survives has
them all, and one that does not loses with them what was not pushed, either way.

Imports the rest of feedback's fields, store, image and errors; huggingface_hub, in `hub` alone.
"""

from llava_chat.feedback.dataset.keeping import FeedbackDataset, loss_without_dataset

__all__ = ["FeedbackDataset", "loss_without_dataset"]
