"""Spam among short messages: what a threshold catches, what it blocks by mistake, and where it errs most.

Source     Almeida, Gómez Hidalgo and Yamakami 2011, Contributions to the study of SMS spam filtering: new
           collection and results.
Run        python -m recipes run spam_sms                 (minutes; --data messages needs no download)
Published  -
Departs    Each message counts once: the collection repeats 414 of its 5,574, which would otherwise be in the
           training and the test set. Five folds, each message tested once, by a network that has not seen
           it. The paper reports other measures, on other splits with the repetitions.

The network has one weight for each word and pair of words that is there, and divides their sum by the root of
their number: linear, as the support vector machines that the paper found best. --config fasttext and lstm are
two others. A message is blocked if its logit is above a threshold, the middle of where F1 is high on the
validation messages of its fold, which are as few as 64 of spam.

    precision P = spam among what was blocked    recall R = blocked among all spam    F1 = 2 P R / (P + R)
"""
import dataclasses
from typing import Literal

import keras
import numpy as np

from models import bag_of_words, fasttext, recurrent_classifier
from pipelines import sms_spam
from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "sms"            # or messages: generated ones, no download
    file: str = ""               # the collection's file or archive, where it is not in the usual place
    folds: int = 5               # of five; fewer for a quick look
    network: Literal["linear", "fasttext", "lstm"] = "linear"
    words: int = 8_000           # most frequent ones of the training messages
    pairs: int = 20_000          # of words that follow each other; 0 for an LSTM, which reads them in order
    length: int = 80             # words of a message
    embedding: int = 32          # numbers per word, or pair
    units: int = 32              # of the LSTM, in each direction
    dropout: float = 0.3         # probability, on the inputs of each layer; not of the linear network
    penalty: float = 3e-6        # of the linear network: times half the sum of its squared weights
    learning_rate: float = 0.05            # of Adam
    epochs: int = 20
    batch_size: int = 32


NAMED = {
    "fasttext": Config(network="fasttext", learning_rate=0.005, epochs=10),
    "lstm": Config(network="lstm", pairs=0, dropout=0.5, learning_rate=0.002, epochs=8),
}
HEADLINE = "f1"
UNIT = "F1"
SMOKE = Config(data="messages", folds=2, words=300, pairs=300, embedding=8, units=8, epochs=4)


def compiled_model(config, data):
    """Integers (B, T) -> one logit: that the message is spam."""
    size = len(data.vocabulary)
    if config.network == "linear":
        model = bag_of_words(size, 1, combiner="sqrtn", penalty=config.penalty)
    elif config.network == "fasttext":
        model = fasttext(size, 1, width=config.embedding, dropout=config.dropout)
    else:
        model = recurrent_classifier((None,), 1, vocabulary=size, embedding=config.embedding,
                                     units=(config.units,), bidirectional=True, pooling="max",
                                     dropout=config.dropout)
    model.compile(keras.optimizers.Adam(config.learning_rate),
                  keras.losses.BinaryCrossentropy(from_logits=True),
                  metrics=[keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)])
    return model


def best_threshold(z, labels):
    """The logit t for "spam is z > t": the middle of all cuts whose F1 is the highest but for one message.

    Where the maximum itself lies is chance: one message more or less moves it far.
    """
    order = np.argsort(-z, kind="stable")
    caught = np.cumsum(labels[order])                           # spam among the k highest
    f1 = 2 * caught / (np.arange(1, len(z) + 1) + labels.sum())
    good = np.flatnonzero(f1 >= f1.max() - 0.5 / labels.sum())
    cuts = (z[order] + z[order[np.minimum(np.arange(len(z)) + 1, len(z) - 1)]]) / 2
    return float(np.median(cuts[good]))


def measures(blocked, labels):
    """{"precision", "recall", "f1", "accuracy", "ham_blocked"} of bool (N,) and labels (N,); 0 for 0 / 0."""
    caught, spam = np.sum(blocked & (labels == 1)), labels.sum()
    return {"precision": float(caught / max(blocked.sum(), 1)), "recall": float(caught / max(spam, 1)),
            "f1": float(2 * caught / max(blocked.sum() + spam, 1)),
            "accuracy": float(np.mean(blocked == labels)),
            "ham_blocked": float(np.sum(blocked & (labels == 0)) / max(np.sum(labels == 0), 1))}


def main(config, run):
    if not 1 <= config.folds <= sms_spam.FOLDS:
        raise ValueError(f"folds must be in [1, {sms_spam.FOLDS}]. Received: {config.folds}")
    folds, rows = [], []
    for fold in range(config.folds):
        child = run.child(f"fold-{fold + 1}", config)
        data = sms_spam.load(config.data, config.batch_size, file=config.file, fold=fold, words=config.words,
                             pairs=config.pairs, length=config.length, distinct=config.network == "linear",
                             seed=run.seed)
        with child.scope():
            model = compiled_model(config, data)
        child.fit(model, data.train, data.validation, epochs=config.epochs, mode="min",
                  keep_best=None if config.network == "linear" else "val_loss")
        validation, labels = logits(model, data.validation), data.validation.labels
        threshold = best_threshold(validation, labels)
        found = {f"val_{name}": value for name, value in measures(validation > threshold, labels).items()}
        if not run.searching:
            z = logits(model, data.test)
            folds.append((z, threshold, data.test.labels, data.test_texts))
            found |= {"threshold": threshold, **measures(z > threshold, data.test.labels)}
        child.save(model, data.class_names, **data.vocabulary.preprocessing())
        child.finish({**found, **child.evaluate(model, data.test)})
        rows.append(found)
    if folds:
        draw(run, folds)
    metrics = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    spread = {f"{name}_std": float(np.std([row[name] for row in rows], ddof=1))
              for name in ("f1",) if name in rows[0] and len(rows) > 1}
    return {**metrics, **spread}


def logits(model, examples):
    """(N,) of the model, for examples of N messages."""
    return model.predict(examples.inputs, batch_size=500, verbose=0)[:, 0]


def draw(run, folds):
    """Precision against recall over all thresholds, the distribution of logits, and the worst mistakes."""
    import matplotlib.pyplot as plt
    margins = np.concatenate([z - threshold for z, threshold, _, _ in folds])
    labels = np.concatenate([fold[2] for fold in folds])
    texts = [text for fold in folds for text in fold[3]]
    order = np.argsort(-margins, kind="stable")
    caught, blocked = np.cumsum(labels[order]), np.arange(1, len(labels) + 1)
    figure, axes = plt.subplot_mosaic([["curve", "scores"], ["worst", "worst"]], figsize=(12, 7.2),
                                      layout="constrained", height_ratios=(1, 0.6))
    axes["curve"].plot(caught / labels.sum(), caught / blocked)
    chosen = measures(margins > 0, labels)
    axes["curve"].plot(chosen["recall"], chosen["precision"], "o", color="black",
                       label=f"chosen thresholds: F1 {chosen['f1']:.3f}")
    axes["curve"].set(xlabel="recall", ylabel="precision", xlim=(0.6, 1.01), ylim=(0.6, 1.01),
                      title=f"{len(labels)} test messages, {labels.sum()} of them spam")
    axes["curve"].legend(loc="lower left")
    axes["curve"].grid(alpha=0.3)
    for label, name, colour in ((0, "ham", "tab:blue"), (1, "spam", "tab:red")):
        axes["scores"].hist(margins[labels == label], bins=40, color=colour, alpha=0.6, label=name, log=True)
    axes["scores"].axvline(0, color="black", linewidth=0.8)
    axes["scores"].set(xlabel="logit above the threshold of its fold", ylabel="messages")
    axes["scores"].legend()
    lines = []
    for title, wrong, sign in (
            ("ham that was blocked, the surest mistake first", (labels == 0) & (margins > 0), -1),
            ("spam that got through", (labels == 1) & (margins <= 0), 1)):
        index = np.flatnonzero(wrong)
        index = index[np.argsort(sign * margins[index], kind="stable")][:6]
        lines += [f"{title} ({wrong.sum()}):",
                  *(f"  {margins[i]:+6.1f}  {shortened(texts[i])}" for i in index), ""]
    axes["worst"].axis("off")
    axes["worst"].text(0, 1, "\n".join(lines).replace("$", r"\$"), family="monospace", fontsize=8, va="top")
    figure.savefig(run.figure("spam"), dpi=110)
    plt.close(figure)


def shortened(text, length=120):
    """A text on one line of at most length characters, unprintable ones as spaces."""
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= length else text[:length - 3] + "..."


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
