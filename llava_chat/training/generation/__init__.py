"""Instruction data by a language model that never sees a picture (arXiv 2304.08485, section 3).

    pictures.py   captions and boxes -> DescribedPicture, and the context that stands for a picture
    reading.py    them from JSONL of one's own
    coco.py       and from COCO's annotation files
    prompts.py    system messages, examples and instructions, from files that anybody may edit
    kinds.py      the types of data, and what a reply of each must look like
    plan.py       which picture is asked about for which type
    cost.py       tokens, estimated or counted, and what they cost
    journal.py    every reply on the disk as it comes
    ledger.py     what all replies come to: what is done, refused, spent
    asking.py     many requests at once; asks again, stops at the budget
    interruptions.py  Ctrl-C and SIGTERM between two replies
    rows.py       kept replies -> LLaVA's instruction JSON, each thing said once
    report.py     what came of it

Imports the client of OpenAI-compatible servers, training's strict JSON and errors; no torch.
"""
