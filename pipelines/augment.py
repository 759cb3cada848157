"""Stateless augmentation of image batches, in the graph; every function keeps the shape."""
import tensorflow as tf

ONE_PIXEL = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))      # (down, right) in pixels


def shifted(images, down, right, reach):
    """Each image moved by whole pixels; what moves in is black.

    images (B, H, W, C); down, right: int64 (B,) in [-reach, reach].
    """
    height, width = images.shape[1:3]
    padded = tf.pad(images, [[0, 0], [reach, reach], [reach, reach], [0, 0]])
    rows = tf.range(height, dtype=tf.int64) + reach - down[:, None]            # (B, H)
    columns = tf.range(width, dtype=tf.int64) + reach - right[:, None]         # (B, W)
    moved = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(moved, columns, axis=2, batch_dims=1)


def one_pixel_shift(images, version):
    """Version 0 is the image itself, 1 to 4 move it one pixel down, up, right, left.

    Nielsen's expansion of MNIST from 50,000 to 250,000 images (expand_mnist.py).
    images (B, H, W, C), version int64 (B,) in [0, 5).
    """
    down, right = tf.unstack(tf.gather(tf.constant(ONE_PIXEL, tf.int64), version), axis=1)
    return shifted(images, down, right, reach=1)
