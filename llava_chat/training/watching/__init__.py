"""What can be seen of a run: figures while it learns, and what they come to.

    progress.py    what is told: a step, the facts of a run     reporting.py  tells it, for the loop
    lines.py       on stderr                                    metrics.py    metrics.jsonl
    boards.py      TensorBoard, Weights & Biases                plot.py       plot.svg
    samples.py     samples.md: replies at each checkpoint       card.py       the model card
    averages.py    what steps come to                           opening.py    all watchers of a run

How a loop is watched, in its first process (the others have no watcher):

    held, learned = hold_out(len(rows), args.samples)           # rows to ask about, rows to learn
    asked = [Sample.of(rows.where(number), rows.conversation(number)) for number in held]
    replies = SampleReplies(checkpoint, asked, output, template=template, bf16=bf16)
    seen = watchers(facts, output, log_every=50, wandb=args.wandb, samples=replies)
    reporter = Reporter(seen, steps, log_every=50, device=device)
    try:
        for step in ...:                                        # from 1, or where the run goes on
            ...                                                 # losses, norm: on the device still
            wrong = reporter.step(step, losses, norm, rates, tokens=..., samples=..., skipped=...)
            if wrong is not None: ...                           # the loss of step `wrong` is none
            if step % save_every == 0:
                if reporter.tell() is not None: ...             # as above, before it is saved
                ...                                             # write the checkpoint aside
                reporter.saving(step, folder_aside)
    finally:
        reporter.end()
    card = model_card(facts, run_figures(output))               # for README.md of the output

No call in it waits for a GPU but every `log_every` steps, and where replies are made. Where the
weights are shared out over processes, all of these have to call `replies.ask()` just before the
first one's `saving`.
"""
