"""From what people wrote about replies to a LoRA adapter.

    lessons.py      plain values: replies to learn, pairs to prefer between, which are held out
    preferences.py  pairs from a JSONL file
    old_skills.py   what a model knows already, to be kept: rows beside the new ones
    lora.py         the adapter on the language model, and its files
    batches.py      rows -> batches with the features of their pictures
    losses.py       cross-entropy on answers, and DPO
    training.py     train_adapter: all of it, on plain values
    judging.py      figures on the rows that were held out, and of old skills
    measured.py     a whole run: measure, train, save, measure again
    report.py       the table, report.json and the model card

Nothing here knows where the rows come from; `commands` reads them from files or the database.
"""
