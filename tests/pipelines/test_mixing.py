"""Mixed batches: functions of (seed, i) whatever the devices, with labels that add up."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines.mixing import Cutmix, Mixup, OneOf, quantiles, share
from pipelines.stream import Examples, Stream

# Each image is filled with its label, so that a mixed pixel tells what is in it.
DATA = Examples(np.repeat(np.arange(40, dtype=np.float32), 64).reshape(40, 8, 8, 1), np.arange(40))
KINDS = {"mixup": Mixup(40), "cutmix": Cutmix(40), "one of": OneOf(Mixup(40), Cutmix(40))}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_batch_i_does_not_depend_on_the_devices_nor_on_the_batch_size(kind):
    stream = Stream(DATA, 12, seed=3, mix=kind)
    images, labels = stream.batch(7)
    for parts in (2, 3):
        shards = [stream.batch(7, shard=(k, parts)) for k in range(parts)]
        np.testing.assert_array_equal(np.concatenate([shard[0] for shard in shards]), images)
        np.testing.assert_array_equal(np.concatenate([shard[1] for shard in shards]), labels)
    np.testing.assert_array_equal(tf.function(stream.batch)(tf.constant(7, tf.int64))[0], images)
    finer = Stream(DATA, 4, seed=3, mix=kind)
    np.testing.assert_array_equal(np.concatenate([finer.batch(i)[0] for i in (21, 22, 23)]), images)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_label_says_what_is_in_its_image(kind):
    plain, stream = Stream(DATA, 20, seed=1), Stream(DATA, 20, seed=1, mix=kind)
    for i in range(4):
        own = plain.batch(i)[1].numpy()
        images, soft = (values.numpy() for values in stream.batch(i))
        assert soft.shape == (20, 40) and soft.dtype == np.float32
        np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), soft @ np.arange(40), rtol=1e-5, atol=1e-4)
        partner = own.reshape(-1, 2)[:, ::-1].ravel()
        rest = soft.copy()
        rest[np.arange(20), own] = rest[np.arange(20), partner] = 0
        assert (rest == 0).all()


def test_cutmix_takes_a_rectangle():
    images = Stream(DATA, 40, seed=5, mix=Cutmix(40)).batch(0)[0].numpy()[..., 0]
    own = Stream(DATA, 40, seed=5).batch(0)[1].numpy()
    taken = images != own[:, None, None]
    assert taken.any(axis=(1, 2)).sum() > 10
    for mask in taken:
        rows, columns = mask.any(axis=1), mask.any(axis=0)
        np.testing.assert_array_equal(mask, rows[:, None] & columns)
        assert (np.diff(np.flatnonzero(rows)) == 1).all() and (np.diff(np.flatnonzero(columns)) == 1).all()


def test_shares_have_the_beta_distribution():
    seeds = tf.stack([tf.zeros(20_000, tf.int64), tf.range(20_000, dtype=tf.int64)], axis=1)
    for alpha in (0.2, 1.0):
        kept = share(seeds, alpha, 1.0).numpy()
        assert kept.mean() == pytest.approx(0.5, abs=0.01)
        assert kept.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.005)     # of Beta(alpha, alpha)
    assert (share(seeds, 0.2, 0.3) == 1).numpy().mean() > 0.69
    assert (np.diff(quantiles(0.2)) >= 0).all()


def test_what_cannot_be_mixed_is_refused():
    with pytest.raises(ValueError, match="multiple of 2 for each device, of 2 here. Received: 5"):
        Stream(DATA, 5, mix=Mixup(40))
    with pytest.raises(ValueError, match="of 4 here. Received: 10"):
        Stream(DATA, 10, mix=Mixup(40)).check_divides(2)
    with pytest.raises(ValueError, match="alpha above 0"):
        Mixup(10, alpha=0)
