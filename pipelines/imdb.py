"""IMDB: 25,000 film reviews for training and 25,000 for the test, half of each positive, through TFDS.

    imdb        of the training reviews the last 2,500 of TFDS's order validate
    sentences   3,000 short generated reviews and 500 and 500: no download

Source: Maas et al. 2011, Learning word vectors for sentiment analysis.
"""
import numpy as np

from pipelines import sentences
from pipelines.buckets import Buckets
from pipelines.stream import Examples, cut_anew
from pipelines.text import TextSplits, vectorised
from pipelines.tfds_source import texts

VALIDATION = 2_500


def load(name="imdb", batch_size=32, *, words=20_000, pairs=0, length=400, seed=0, fold=None):
    """-> TextSplits of int32 (N, T) and int64 labels, 1 for positive; batches by Buckets.

    words, pairs, length: of the vocabulary, which is made of the training reviews alone.
    fold: (k, K) validates on the k-th K-th of training and validation reviews together.
    Raises ValueError for an unknown name, FileNotFoundError when the data is neither
    cached nor to be downloaded.
    """
    if name == "sentences":
        training, validation, test = sentences.reviews()
    elif name == "imdb":
        reviews, labels = texts("imdb_reviews", "train", offline="sentences")
        training, validation = (Examples(reviews[rows], labels[rows])
                                for rows in (slice(-VALIDATION), slice(-VALIDATION, None)))
        test = Examples(*texts("imdb_reviews", "test", offline="sentences"))
    else:
        raise ValueError(f"data must be one of imdb, sentences. Received: {name}")
    training, validation = cut_anew(training, validation, fold)
    vocabulary, *parts = vectorised(training, validation, test, words, pairs=pairs, length=length)
    return TextSplits(Buckets(parts[0], batch_size, seed=seed), *parts, sentences.CLASSES,
                      vocabulary=vocabulary, test_texts=tuple(np.asarray(test.inputs)))
