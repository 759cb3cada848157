"""Two small tables that come with scikit-learn, in five folds: no download.

    breast_cancer  569 tumours, 30 numbers measured on an image of their cells; benign 1, malignant 0
    diabetes       442 patients, 10 numbers; the progression of the disease a year later, standardised

Sources: Street, Wolberg and Mangasarian 1993 (UCI, Wisconsin Diagnostic Breast Cancer); Efron, Hastie,
Johnstone and Tibshirani 2004.
"""
import numpy as np

from pipelines.stream import Examples, Splits, Stream

FOLDS = 5
VALIDATION = 8                   # every eighth of the examples that are not in the test fold


def load(name="breast_cancer", batch_size=16, *, fold=0, seed=0, **stream_options):
    """-> Splits of float32 rows (N, 30 or 10); labels int64 (N,), or float32 (N,) of diabetes.

    fold: which fifth of the examples is the test set, 0 to 4; the same for every seed, each with
    its share of each class. The four other fifths are for training, but one in eight of them
    validates. Inputs, and the progression, have mean 0 and variance 1 on the training examples.
    Raises ValueError for an unknown name or fold.
    """
    from sklearn import datasets
    from sklearn.model_selection import KFold, StratifiedKFold
    if name not in ("breast_cancer", "diabetes"):
        raise ValueError(f"data must be one of breast_cancer, diabetes. Received: {name}")
    if fold not in range(FOLDS):
        raise ValueError(f"fold must be in [0, {FOLDS - 1}]. Received: {fold}")
    table = getattr(datasets, f"load_{name}")()
    inputs, labels = table.data.astype(np.float32), table.target
    classes = name == "breast_cancer"
    folds = (StratifiedKFold if classes else KFold)(FOLDS, shuffle=True, random_state=0)
    rest, test = list(folds.split(inputs, labels))[fold]
    validates = np.arange(len(rest)) % VALIDATION == VALIDATION - 1
    training, validation = rest[~validates], rest[validates]
    inputs = standardised(inputs, training)
    labels = labels.astype(np.int64) if classes else standardised(labels.astype(np.float32), training)
    parts = [Examples(inputs[rows], labels[rows]) for rows in (training, validation, test)]
    return Splits(Stream(parts[0], batch_size, seed=seed, **stream_options), *parts,
                  tuple(map(str, table.target_names)) if classes else ())


def standardised(values, rows):
    """Mean 0 and variance 1 on these rows, column by column."""
    return (values - values[rows].mean(axis=0)) / values[rows].std(axis=0)
