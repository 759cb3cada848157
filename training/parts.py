"""A batch that goes through the network in equal parts, side by side, each by itself as on a device."""
import contextlib
import itertools

import keras
from keras import ops


def of_each(replicas, parts, stream):
    """How many parts each of so many replicas makes of its share of a stream's batch.

    Raises ValueError unless all parts are equal.
    """
    if not isinstance(parts, int) or parts < 1:
        raise ValueError(f"in_parts must be a number of parts, at least 1. Received: {parts}")
    each = max(1, parts // replicas)
    if parts > 1 and stream.batch_size % (each * replicas):
        raise ValueError(f"the batch size must be a multiple of the number of parts, {each * replicas}. "
                         f"Received: {stream.batch_size}")
    return each


@contextlib.contextmanager
def each_by_itself(model, parts):
    """In here a model takes a batch (B, ...) in so many parts, whose outputs it joins again.

    Where it trains, batch normalisation takes the mean and variance of a part, as on so many devices
    (He et al. 2015 train on two GPUs; Hoffer et al. 2017, arXiv:1705.08741, call it ghost batch
    normalisation), and moves its averages once for each part. The parts need nothing of each other:
    TensorFlow computes them at the same time, given threads for it by device.share_threads. One part
    leaves the model as it is.
    """
    if parts == 1:
        yield
        return
    whole = model.call

    def call(inputs, **options):
        size = ops.shape(keras.tree.flatten(inputs)[0])[0]
        ends = [size * part // parts for part in range(parts + 1)]
        outputs = [whole(keras.tree.map_structure(lambda each, rows=rows: each[slice(*rows)], inputs),
                         **options) for rows in itertools.pairwise(ends)]
        return keras.tree.map_structure(lambda *each: ops.concatenate(each), *outputs)
    model.call = call
    try:
        yield
    finally:
        del model.call           # of the class again
