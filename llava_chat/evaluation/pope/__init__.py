"""POPE (arXiv 2305.10355): does a model see things in a photograph that are not there?

Yes-or-no questions in three splits; the things that are not there are drawn at random, from the
most frequent ones, or from those that mostly go with what is there.
"""
