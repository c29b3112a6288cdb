"""ScienceQA (arXiv 2209.09513) as LLaVA was judged by it (arXiv 2304.08485, section 5.2).

problems.py   the published files, checked; a problem's picture
prompts.py    how a problem is put to a model, and the rows to finetune one on
scoring.py    which choice an answer means, and the accuracy by ScienceQA's own groups
published.py  what others reached
"""
