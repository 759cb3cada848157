"""Handwritten digits that come with scikit-learn: 1,797 images of 8x8 pixels, no download.

The offline twin of MNIST: half an hour of convnet_mnist shrinks to seconds. Source:
Alpaydin and Kaynak 1998, UCI Optical Recognition of Handwritten Digits, its test part.
"""
import numpy as np

from pipelines.stream import Examples, Splits, Stream, cut_anew

TRAIN, VALIDATION = 1_257, 180                     # of 1,797 by index; the last 360 are the test set


def load(batch_size=10, *, size=8, seed=0, fold=None, **stream_options):
    """-> Splits of uint8 images (N, size, size, 1), ten classes; size >= 8 enlarges bilinearly.

    fold: (k, K) validates on the k-th K-th of training and validation images together.
    """
    from sklearn.datasets import load_digits
    images, labels = load_digits(return_X_y=True)                            # 0..16, (N, 64)
    images = np.round(images.reshape(-1, 8, 8, 1) * (255 / 16))
    if size != 8:
        import tensorflow as tf
        images = np.round(tf.image.resize(images, (size, size)).numpy())
    images, labels = images.astype(np.uint8), labels.astype(np.int64)
    cut = [slice(0, TRAIN), slice(TRAIN, TRAIN + VALIDATION), slice(TRAIN + VALIDATION, None)]
    training, validation, test = (Examples(images[part], labels[part]) for part in cut)
    training, validation = cut_anew(training, validation, fold)
    return Splits(Stream(training, batch_size, seed=seed, **stream_options), training, validation, test,
                  tuple("0123456789"))
