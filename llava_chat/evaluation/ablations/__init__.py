"""The papers' ablations on the bundled recipe: what each of its choices is worth here.

    variants (what is changed, what the papers found) -> sizes (how large, how long)
      -> runs (train and judge each, resumable) -> intervals -> table

Imports training, the local engine and the scenes of `evaluation`.
"""
