"""What all of it says: how much there is, how far people agree, which model they prefer.

    estimate.py   a figure with its interval, and how much there must be before one is shown
    volume.py     how much was said, over time, by reason, model and person
    agreement.py  Krippendorff's alpha, and Cohen's kappa of every two people
    ranking.py    Bradley-Terry strengths from votes between two
    gold.py       how often each person is right where the answer is known
    gathering.py  what is kept, as the plain values that those take
    report.py     all figures of one moment

Imports the rest of feedback and store; numpy, krippendorff, evalica and scipy inside the functions
that need them, so that nothing else waits for them.
"""

from llava_chat.feedback.results.gathering import Wanted, agreed_items, gather, models_of
from llava_chat.feedback.results.report import Report, report, spoken

__all__ = ["Report", "Wanted", "agreed_items", "gather", "models_of", "report", "spoken"]
