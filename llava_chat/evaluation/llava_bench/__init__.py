"""LLaVA-Bench, COCO (arXiv 2304.08485) and In-the-Wild: open questions, judged beside a reference.

A judge that only reads scores the candidate's answer and GPT-4's, which knew the description of the
picture; what counts is how near the one comes to the other.
"""
