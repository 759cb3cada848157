"""Show and Tell: a convolutional network looks at an image, and an LSTM says in a sentence what is there.

Source     Vinyals, Toshev, Bengio and Erhan 2015, Show and Tell: A neural image caption generator,
           arXiv:1411.4555.
Run        python -m recipes run captioning      (25 minutes; --smoke: seconds; neither needs a download)
           python -m recipes run captioning --config paper --data COCO_FOLDER --weights GOOGLENET.safetensors
           python -m recipes predict RUN_DIR photograph.jpg
Published  27.7 (paper: BLEU-4 on COCO, beam of 20). On Flickr8k the paper has BLEU-1 63.
Departs    The default is a generated world of coloured shapes, whose right sentences are known: no sentence
           of its test is in its training. There a small residual network learns first which words are said
           of an image, where the paper's has learned to name ImageNet's, and then goes on with the LSTM, by
           Adam. Its maps are pooled by their maximum over the whole and over 2x2, 4x4 and 8x8 fields, because
           their mean forgets what is above what; the image's embedding is normalised, and the forget gates
           begin open: what is seen once, at the first step, has to last for twenty words. There are one or
           two shapes in an image; --config three is harder.
           paper is the paper's own, with GoogLeNet normalised and unchanged; one network, not an ensemble.
           The LSTM's output is o * tanh(c), where equation 8 prints o * c.

What one sees once has to last: with three shapes in an image, after 1,000 updates over an encoder that knew
the words, validation stood at .440 nats per word with the first weights that Keras gives; .398 with words as
large as the image; .350 with forget gates that remember 40 steps as well, .332 with 400; .318 without hidden
units between image and LSTM (explored by hand, one seed each, no stored run). Which of the right sentences is
drawn leaves .063 open.

BLEU is sacrebleu's, the yardstick of machine translation: n-grams of all sentences together, without
smoothing, the length of the closest reference. A sentence is exact if it is one of its references.
"""
import dataclasses
import difflib
import functools
import textwrap
from typing import Literal

import keras
import numpy as np
from sacrebleu.metrics import BLEU

from models import Captioner, googlenet, resnet50, resnet_cifar, show_and_tell, word_detector
from pipelines import captions
from training import launch


@dataclasses.dataclass(frozen=True)
class Config:
    data: str = "shapes"         # generated; or a folder of Flickr8k or COCO, or flickr8k, coco in --data-dir
    images: int = 120_000        # of shapes, for training
    most: int = 2                # shapes in an image: at least one, at most three
    size: int = 32               # pixels, height and width
    least: int = 5               # times that a word occurs in the training sentences, else it is unknown
    skip_unreadable: bool = False        # leave out images that are missing or damaged, instead of ending
    encoder: Literal["resnet8", "resnet20", "resnet50", "googlenet"] = "resnet8"
    weights: str = ""            # a file for the encoder, as of torchvision; none: it begins at random
    word_epochs: int = 1         # of the encoder alone, before: which words are said of an image; 0: none
    frozen: bool = False         # then leave the encoder as it is
    grids: tuple[int, ...] = (1, 2, 4, 8)    # its maps are pooled over so many rows and columns of fields
    pooling: Literal["mean", "max"] = "max"
    hidden: int = 0              # relu units between the fields and the LSTM's input; 0: none
    embedding: int = 256         # numbers per word, and per image
    normalised: bool = True      # the image's, as a batch
    memory: int = 400            # steps that the LSTM remembers at first; 0: by Keras's biases, about three
    units: int = 256             # of the LSTM
    dropout: float = 0.0         # probability, on the inputs and outputs of the LSTM
    hoisted: bool = True         # HoistedLSTM, which is quicker on CPUs
    optimizer: Literal["adam", "sgd"] = "adam"       # adam's falls to zero along a cosine, sgd's is fixed
    learning_rate: float = 2e-3
    clip: float = 5.0            # largest norm of all gradients together
    epochs: int = 5              # over all images, each with one of its sentences
    batch_size: int = 32         # over all devices
    beam: int = 5                # sentences kept at each step of the search
    longest: int = 20            # words of a sentence that is written


PHOTOGRAPHS = Config(data="flickr8k", size=224, encoder="googlenet", frozen=True, grids=(1,), pooling="mean",
                     hidden=0, embedding=512, normalised=False, memory=0, word_epochs=0, units=512,
                     dropout=0.3, learning_rate=1e-3, epochs=20, beam=20)
NAMED = {"three": Config(most=3),
         "flickr8k": PHOTOGRAPHS,           # the rate of paper is that of the authors' program im2txt
         "paper": dataclasses.replace(PHOTOGRAPHS, data="coco", optimizer="sgd", learning_rate=2.0)}
PUBLISHED = {"paper": 27.7}
HEADLINE = "test_bleu4"
SMOKE = Config(images=1_600, size=24, word_epochs=1, grids=(1, 2, 4), embedding=64, units=64, hoisted=False,
               learning_rate=5e-3, epochs=6, beam=3)
ENCODERS = {"resnet8": functools.partial(resnet_cifar, depth=8),
            "resnet20": functools.partial(resnet_cifar, depth=20),
            "resnet50": functools.partial(resnet50, version="v1.5"),
            "googlenet": functools.partial(googlenet, batch_norm=True)}


def networks(config, data):
    """The encoder, and the whole network over it."""
    if config.word_epochs < 0:
        raise ValueError(f"word_epochs must be at least 0. Received: {config.word_epochs}")
    if config.frozen and not (config.weights or config.word_epochs):
        raise ValueError("an encoder that stays as it is needs weights: a file of them as --weights FILE, or "
                         "--word-epochs to train it before, or --no-frozen to train it, too")
    encoder = ENCODERS[config.encoder](data.input_shape, include_top=False, weights=config.weights or None)
    return encoder, show_and_tell(
        encoder, len(data.vocabulary), embedding=config.embedding, units=config.units, grids=config.grids,
        pooling=config.pooling, hidden=config.hidden, normalised=config.normalised,
        memory=config.memory or None, dropout=config.dropout, hoisted=config.hoisted)


def learn_words(config, run, data, encoder):
    """Trains the encoder alone to tell which words are in the sentence of an image."""
    print("-- the encoder, to learn which words are said", flush=True)
    with run.scope():
        detector = word_detector(encoder, len(data.vocabulary))
        detector.compile(optimizer(config, config.word_epochs * data.train.batches_per_epoch), words_said)
    history = run.fit(detector, data.train, data.validation, epochs=config.word_epochs)
    run.save(detector)
    run.finish({"val_loss": history[-1]["val_loss"]})
    print("-- the sentences", flush=True)


def words_said(sentences, logits):
    """Binary cross-entropy of the words of a sentence (B, T), any order, against logits (B, vocabulary)."""
    said = keras.ops.max(keras.ops.one_hot(sentences, logits.shape[-1]), axis=1)
    return keras.losses.binary_crossentropy(said, logits, from_logits=True)


def compiled(model, config, data):
    """Compiles for the training of sentences."""
    # -log p of the next word, equation 1: the mean over all words and ends, where the paper has sums.
    model.compile(optimizer(config, config.epochs * data.train.batches_per_epoch),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=captions.PADDING))


def optimizer(config, updates):
    """Adam along a cosine of so many updates, or the paper's SGD; both clip the gradient's norm."""
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(config.learning_rate, global_clipnorm=config.clip)
    rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, updates)
    return keras.optimizers.Adam(rate, global_clipnorm=config.clip)


def captioner(model, *, beam, longest):
    """The model as one that writes sentences, by a beam of that width, of at most longest words."""
    return Captioner(model, start=captions.START, end=captions.END, silent=[captions.UNKNOWN], width=beam,
                     length=longest)


def main(config, run):
    source = run.data_dir if config.data in ("flickr8k", "coco") else config.data
    if not source:
        raise ValueError(f"--data {config.data} needs its folder, as --data-dir FOLDER; or name it: "
                         "--data FOLDER. shapes needs none")
    data = captions.load(source, config.batch_size, size=config.size, least=config.least, most=config.most,
                         images=config.images, seed=run.seed, skip_unreadable=config.skip_unreadable)
    with run.scope():
        encoder, model = networks(config, data)
    if config.word_epochs:
        learn_words(config, run.child("words", config), data, encoder)
    encoder.trainable = not config.frozen
    with run.scope():
        compiled(model, config, data)
    history = run.fit(model, data.train, data.validation, epochs=config.epochs, keep_best="val_loss",
                      mode="min")
    run.save(model, **data.preprocessing(), beam=config.beam, longest=config.longest)
    best = min(history, key=lambda row: row["val_loss"])
    metrics = {"val_loss": best["val_loss"], "best_epoch": best["epoch"]}
    if run.searching:
        return metrics
    with run.scope():
        searches = {"": captioner(model, beam=config.beam, longest=config.longest),
                    "greedy_": captioner(model, beam=1, longest=config.longest)}

    def measured(part, split):
        written = {name: sentences(search, split, data.vocabulary) for name, search in searches.items()}
        return written, {f"{part}_{name}{measure}": value for name, each in written.items()
                         for measure, value in scores(each, split.sentences).items()}
    written, scored = measured("val", data.validation)
    draw(run, data.validation, written[""])
    metrics |= scored | run.evaluate(model, data.test)        # from here on the test, once
    return metrics | measured("test", data.test)[1]


def sentences(search, split, vocabulary):
    """What a Captioner writes about each image of a split: [str]."""
    found = search.predict(split.images(), verbose=0)["words"][:, 0]
    return [vocabulary.text(row) for row in found]


def scores(written, references):
    """{"exact", "bleu1", ..., "bleu4"}, each in [0, 1], of sentences and the several right ones of each."""
    most = max(map(len, references))
    streams = [[some[number] if number < len(some) else None for some in references]
               for number in range(most)]                  # the first ones of all, the second ones, ...
    found = {"exact": float(np.mean([one in some for one, some in zip(written, references, strict=True)]))}
    for order in range(1, 5):
        bleu = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order)
        found[f"bleu{order}"] = bleu.corpus_score(written, streams).score / 100
    return found


def draw(run, split, written, count=6):
    """Validation images with what was written: those nearest to a reference, then those farthest from it."""
    import matplotlib.pyplot as plt
    bleu = BLEU(tokenize="none", effective_order=True)
    near = [bleu.sentence_score(one, list(some)).score
            for one, some in zip(written, split.sentences, strict=True)]
    order = np.argsort(near, kind="stable")[::-1]
    good = order[np.linspace(0, max(len(order) // 2 - 1, 0), min(count, len(order))).astype(int)]
    figure, rows = plt.subplots(4, count, figsize=(2.6 * count, 8.4), height_ratios=(1, 2, 1, 2),
                                layout="constrained")
    shown = [*good, *order[-count:]]
    for place, index in enumerate(shown):
        row, column = divmod(place, count)
        exact = written[index] in split.sentences[index]
        text = folded(written[index] or "(nothing)")
        if not exact:
            text += "\nright:\n" + folded(nearest(written[index], split.sentences[index]))
        rows[2 * row, column].text(0.5, 0, text, fontsize=10, color="#007050" if exact else "#B04000",
                                   ha="center", va="bottom", parse_math=False)
        rows[2 * row + 1, column].imshow(split.picture(index), interpolation="nearest")
    for axes in rows.flat:
        axes.set_axis_off()
    figure.suptitle("Above: sentences of the better half, below: the worst; green: exactly a right one")
    figure.savefig(run.figure("sentences"), dpi=90)
    plt.close(figure)


def nearest(sentence, references):
    """The reference that shares most of its words, and their places, with a sentence."""
    return difflib.get_close_matches(sentence, references, 1, 0)[0]


def folded(sentence, width=28):
    """A sentence in lines of at most so many characters."""
    return "\n".join(textwrap.wrap(sentence, width))


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE)
