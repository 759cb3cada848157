"""The SMS Spam Collection: 5,574 short messages, 747 of them spam, in five folds.

    sms        a file of lines "ham<tab>message" and "spam<tab>message", or a zip archive with such a file in
               it: the one that is named, else sms_spam/SMSSpamCollection in TFDS's folder, else downloaded
    messages   1,500 generated messages: no download

A message that comes several times is kept once, so that none is in the training and the test set: 5,160 are
left, 642 of them spam.
Source: Almeida, Gómez Hidalgo and Yamakami 2011 (UCI, SMS Spam Collection).
"""
import io
import os
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

import numpy as np

from pipelines.sentences import choice
from pipelines.stream import Examples, Stream
from pipelines.text import TextSplits, contents, vectorised
from pipelines.tfds_source import PATIENCE, data_folder

URL = "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip"
MEMBER = "SMSSpamCollection"               # the archive holds a readme beside it
CLASSES = ("ham", "spam")
FOLDS = 5
VALIDATION = 8                             # every eighth message that is not in the test fold validates


def load(name="sms", batch_size=32, *, file="", fold=0, words=8_000, pairs=0, length=60,
         distinct=False, seed=0):
    """-> TextSplits of int32 (N, T) and int64 labels, 1 for spam.

    file: a file or archive as above, in place of the usual place. fold: which fifth is the test set, 0 to 4,
    the same for every seed, each with its share of spam. words, pairs, length, distinct: of the vocabulary,
    which is made of the training messages alone and reads every digit as 0.
    Raises ValueError for an unknown name or fold or a damaged file, FileNotFoundError when there is none.
    """
    from sklearn.model_selection import StratifiedKFold
    if fold not in range(FOLDS):
        raise ValueError(f"fold must be in [0, {FOLDS - 1}]. Received: {fold}")
    if name == "messages":
        texts, labels = generated()
    elif name == "sms":
        texts, labels = once(*parsed(*found(file)))
    else:
        raise ValueError(f"data must be one of sms, messages. Received: {name}")
    rest, test = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(texts, labels))[fold]
    validates = np.arange(len(rest)) % VALIDATION == VALIDATION - 1
    parts = [Examples(texts[rows], labels[rows]) for rows in (rest[~validates], rest[validates], test)]
    vocabulary, *vectors = vectorised(*parts, words, pairs=pairs, length=length, shapes=True,
                                      distinct=distinct)
    return TextSplits(Stream(vectors[0], batch_size, seed=seed), *vectors, CLASSES,
                      vocabulary=vocabulary, test_texts=tuple(parts[2].inputs))


def found(file):
    """(the text of the collection, the name of its file), from where it is."""
    if file:
        path = Path(file).expanduser()
        path = path / MEMBER if path.is_dir() else path
        return unpacked(path)
    folder = data_folder() / "sms_spam"
    for path in (folder / MEMBER, folder / f"{MEMBER}.zip"):
        if path.exists():
            return unpacked(path)
    try:
        with urllib.request.urlopen(URL, timeout=PATIENCE) as answer:
            archive = answer.read()
    except (OSError, urllib.error.URLError) as error:
        raise FileNotFoundError(
            f"the SMS Spam Collection is not in {folder} and could not be downloaded from {URL} ({error}). "
            "Name its file with --file, or use --data messages, which needs no download.") from error
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{MEMBER}.{os.getpid()}.zip"
    part.write_bytes(archive)
    os.replace(part, folder / f"{MEMBER}.zip")
    return unpacked(folder / f"{MEMBER}.zip")


def unpacked(path):
    """(text, name) of a plain file, or of the collection in a zip archive. Raises ValueError, OSError."""
    if path.exists() and path.is_file():
        start = path.read_bytes()[:4]
        if start == b"PK\x03\x04" or path.suffix == ".zip":
            try:
                with zipfile.ZipFile(path) as archive:
                    return io.TextIOWrapper(archive.open(MEMBER), encoding="utf-8").read(), f"{path}:{MEMBER}"
            except (zipfile.BadZipFile, EOFError, zlib.error) as error:
                raise ValueError(f"{path} is a damaged or truncated archive ({error}): "
                                 "fetch it again") from error
            except KeyError as error:
                raise ValueError(f"{path} holds no file {MEMBER}") from error
    return contents(path), str(path)


def parsed(text, name):
    """Lines "label<tab>message" -> messages, an object array of str (N,), and labels int64 (N,)."""
    messages, labels = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        label, tab, message = line.partition("\t")
        if not tab or label not in CLASSES:
            raise ValueError(f"line {number} of {name} is no message with its label. Each line must be ham "
                             f"or spam, a tab, and the message. Received: {line[:60]!r}")
        if message.strip():
            messages.append(message.strip())
            labels.append(CLASSES.index(label))
    counts = np.bincount(labels, minlength=2)
    if counts.min() < 2 * FOLDS:
        raise ValueError(f"{name} has {counts[0]} messages of ham and {counts[1]} of spam; {2 * FOLDS} of "
                         "each are the least for training, validation and test. Is the file complete?")
    return np.array(messages, dtype=object), np.array(labels, np.int64)


def once(messages, labels):
    """Each message at its first place only."""
    first = np.sort(np.unique(messages.astype(str), return_index=True)[1])
    return messages[first], labels[first]


PEOPLE = ("mum", "sam", "anna", "the boss", "my sister", "ravi", "everyone", "you")
PLACES = ("home", "the station", "class", "the cinema", "work", "town", "the gym", "tom's")
TIMES = ("at 5", "tonight", "after lunch", "tomorrow", "in 10 mins", "next week", "later", "on friday")
PRIZES = ("a £500 voucher", "a free holiday", "2000 pounds", "a new phone", "free ringtones",
          "cinema tickets")
HAM = ("i am at {place} , see {person} {time}", "can {person} come to {place} {time} ?",
       "ok , call me {time} when {person} is free", "{person} won a prize at {place} , so happy !",
       "did {person} reply ? text me {time}", "sorry , no free time {time} , i am with {person}",
       "lol {person} said we meet {time} at {place}")
SPAM = ("you have won {prize} ! call {number} {time}", "urgent ! claim {prize} , text yes to {code}",
        "free entry to win {prize} {time} , reply {code} to stop", "call {number} now for {prize} !",
        "your number was drawn for {prize} , ring {number}",
        "hi , it is {person} , see my pics , text {code}")


def generated(count=1500):
    """Messages from a small grammar, one in seven spam; always the same, and each once."""
    generator, found = np.random.default_rng(0), {}
    while len(found) < count:
        label = int(len(found) % 7 == 6)
        message = choice(generator, (HAM, SPAM)[label]).format(
            person=choice(generator, PEOPLE), place=choice(generator, PLACES), time=choice(generator, TIMES),
            prize=choice(generator, PRIZES), number=f"0{generator.integers(10 ** 9, 10 ** 10)}",
            code=generator.integers(10 ** 4, 10 ** 5))
        found.setdefault(message, label)
    return np.array(list(found), dtype=object), np.array(list(found.values()), np.int64)
