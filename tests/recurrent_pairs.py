"""Layers over sequences in real Keras and in ours, with equal weights."""

from model_pairs import assert_close, both, draw

X = draw(2, 5, 4)


def pair_of(make, x=X, **keywords):
    """``make(keras)`` in both with equal weights, and Keras's output."""
    theirs, mine = both(make)
    theirs(x, **keywords)
    mine(x, **keywords)
    values = [draw(*w.shape, seed=i) / 2 for i, w in enumerate(theirs.weights)]
    theirs.set_weights(values)
    mine.set_weights(values)
    return theirs, mine


def outputs_agree(make, x=X, **keywords):
    theirs, mine = pair_of(make, x, **keywords)
    assert_close(mine(x, **keywords), theirs(x, **keywords))
    return theirs, mine
