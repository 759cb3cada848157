"""What a classifier's stored outputs say: confidence, confusion, calibration, mistakes. NumPy alone."""
import dataclasses
import math

import numpy as np

BINS = 15                 # of confidence, as in Guo et al. 2017, arXiv:1706.04599
MISTAKES_KEPT = 40


def activated(logits, activation="softmax"):
    """float (N, K) logits -> (N, K) in [0, 1]: by "softmax", or by "sigmoid", for classes judged one by one.

    A single logit, (N, 1), is that of the second of two classes, so K is 2.
    """
    if activation not in ("softmax", "sigmoid"):
        raise ValueError(f'activation must be "softmax" or "sigmoid". Received: {activation!r}')
    if logits.shape[1] == 1 or activation == "sigmoid":
        values = 0.5 * (1 + np.tanh(0.5 * logits))                      # the sigmoid, without overflow
        return np.concatenate([1 - values, values], axis=1) if logits.shape[1] == 1 else values
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def probabilities(outputs, activation="softmax"):
    """float (N, K) outputs of a classifier -> float64 (N, K) confidences in [0, 1].

    Logits go through the activation; see activated. Outputs that are all in [0, 1] already, and not all
    zero, are those of a softmax or sigmoid layer and stay as they are. A single output, (N,) or (N, 1), is
    that of the second of two classes, so K is 2.
    """
    outputs = np.asarray(outputs, np.float64)
    outputs = outputs[:, None] if outputs.ndim == 1 else outputs
    if not (outputs.size and outputs.min() >= 0 and outputs.max() <= 1 and outputs.any()):
        return activated(outputs, activation)
    return np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs


def mistakes(confidences, labels):
    """Indices of the wrong predictions, int64, the most confident mistake first; ties by index."""
    predicted = confidences.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    return wrong[np.argsort(-confidences[wrong, predicted[wrong]], kind="stable")]


def one_per_example(labels):
    """Whether the labels are one number per example, (N,), not sequences and not several kinds."""
    return isinstance(labels, np.ndarray) and labels.ndim == 1


def kept_mistakes(outputs, labels, inputs, count=MISTAKES_KEPT):
    """{"mistakes": indices, "mistake_inputs": their inputs as stored}; {} unless images are classified.

    Images are (N, H, W, 1 or 3), labels integers (N,). At most count, the most confident first.
    """
    images = np.ndim(inputs) == 4 and np.shape(inputs)[-1] in (1, 3)
    if not (images and is_classification(outputs, labels)):
        return {}
    wrong = mistakes(probabilities(outputs), labels)[:count]
    return {"mistakes": wrong, "mistake_inputs": inputs[wrong]}


def is_classification(outputs, labels):
    """Whether these are finite scores of classes, one row per integer label within their number."""
    outputs, labels = np.asarray(outputs), np.asarray(labels)
    if (labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels) or outputs.ndim not in (1, 2)
            or len(outputs) != len(labels) or not np.isfinite(outputs).all()):
        return False
    classes = 2 if outputs.ndim == 1 or outputs.shape[1] == 1 else outputs.shape[1]
    return bool(labels.min() >= 0 and labels.max() < classes)


def confusion_matrix(labels, predicted, classes):
    """int64 (classes, classes) counts; rows are the true classes, columns the predicted ones."""
    return np.bincount(labels * classes + predicted, minlength=classes ** 2).reshape(classes, classes)


def vote(probabilities):
    """Plurality vote: probabilities (members, N, classes) -> (class of each example (N,), ties).

    Each member votes for its likeliest class. Among classes with equally many votes, the
    one of the highest mean probability wins; ties counts the examples decided so.
    """
    ballots = probabilities.argmax(axis=-1)                              # (members, N)
    votes = np.sum(ballots[..., None] == np.arange(probabilities.shape[-1]), axis=0)     # (N, classes)
    leading = votes == votes.max(axis=-1, keepdims=True)
    chosen = np.where(leading, probabilities.mean(axis=0), -1).argmax(axis=-1)
    return chosen, int(np.sum(leading.sum(axis=-1) > 1))


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Per bin of confidence: count, mean confidence and accuracy (NaN where empty), and their summary."""
    edges: np.ndarray            # (bins + 1,)
    counts: np.ndarray           # (bins,)
    confidence: np.ndarray       # (bins,)
    accuracy: np.ndarray         # (bins,)
    error: float                 # expected calibration error, in [0, 1]


def calibration(confidences, labels, bins=BINS):
    """Accuracy against confidence in bins (i / bins, (i + 1) / bins]; the confidence is the largest one.

    The expected calibration error is the mean over examples of |accuracy - mean confidence|
    of their bin (Guo et al. 2017, eq. 3).
    """
    confidence = confidences.max(axis=1)
    right = confidences.argmax(axis=1) == labels
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(index, confidence, bins) / counts
        accuracy = np.bincount(index, right, bins) / counts
    gaps = np.where(counts > 0, np.abs(accuracy - mean_confidence), 0.0)
    return Calibration(np.linspace(0, 1, bins + 1), counts, mean_confidence, accuracy,
                       float((counts * gaps).sum() / len(labels)))


def wilson_interval(right, count):
    """The 95 % interval of a proportion (Wilson 1927): (low, high), each in [0, 1]."""
    z = 1.959964
    share, spread = right / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    reach = z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, middle - reach), min(1.0, middle + reach)
