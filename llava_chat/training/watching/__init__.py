"""What can be seen of a run: figures while it learns, and what they come to.

    progress.py    what is told: a step, the facts of a run     averages.py   what steps come to
    lines.py       on stderr                                    metrics.py    metrics.jsonl
    boards.py      TensorBoard, Weights & Biases                plot.py       plot.svg
    samples.py     samples.md: replies at each checkpoint       card.py       the model card
    opening.py     all watchers of a run

How a loop is watched, in its first process (the others have no watcher):

    held, learned = hold_out(len(rows), args.samples)           # rows to ask about, rows to learn
    asked = [Sample.of(rows.where(number), rows.conversation(number)) for number in held]
    replies = SampleReplies(checkpoint, asked, output, template=template, bf16=bf16)
    seen = watchers(facts, output, log_every=50, wandb=args.wandb, samples=replies)
    try:
        for step in ...:                                        # from 1, or where the run goes on
            ...
            for watcher in seen: watcher.step(progress)         # figures that have come by then
            if step % save_every == 0:
                ...                                             # write the checkpoint aside
                for watcher in seen: watcher.saving(step, folder_aside)
    finally:
        for watcher in seen: watcher.end()
    card = model_card(facts, run_figures(output))               # for README.md of the output

Every step up to a checkpoint's is told before `saving`. No watcher asks a device for anything but
`replies`, which runs the model: where its weights are shared out over processes, all of these have
to call `replies.ask()` just before the first one's `saving`.
"""
