"""A folder of one's own images: a directory for each class, or a CSV file of paths and labels.

    flowers/daisy/*.jpg                     image_folder.load("flowers")
    flowers/rose/*.jpg

    path,label                              image_folder.load("flowers.csv")
    images/1.jpg,daisy

The last files of each class, by name, validate, and those before them test; so the cut is the same
for every seed. Files that cannot be read are found when the folder is loaded, all of them at once.
"""
import csv
import os
from pathlib import Path

import numpy as np

from pipelines.files import CentreCrop, FileExamples, FileStream, RandomResizedCrop, paths_below, scan, told
from pipelines.stream import Splits, Standardized

# Of ImageNet's training images, red, green and blue, in [0, 1]; as torchvision's networks have them.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load(source, batch_size=32, *, size=224, seed=0, fold=None, validation=0.15, test=0.15, test_source="",
         check="headers", skip_unreadable=False, crop=None, evaluation_crop=None, mean=IMAGENET_MEAN,
         std=IMAGENET_STD, bgr=False, prepare=None, **stream_options):
    """-> Splits of files: RGB images of size x size, standardised, and int64 labels by sorted class names.

    source, test_source: a folder with a directory per class, or a CSV file, or {class: paths}; with a
    test_source nothing is cut for the test.
    validation, test: the part of each class, in (0, 1), that validates and that tests.
    fold: (k, K) validates on the k-th K-th of each class, but for what tests.
    check, skip_unreadable: see pipelines.files.scan; unreadable files are left out only if asked.
    crop: of the training, RandomResizedCrop by default; evaluation_crop: CentreCrop by default.
    mean, std, bgr: see pipelines.stream.Standardized.
    prepare: in place of that (Splits then says 0 and 1).
    stream_options go to FileStream: order, augment, mix.
    Raises FileNotFoundError or ValueError in a sentence: no such folder, no images, one class, a
    class with too few images, files that cannot be read, a test class that no training image has, an
    image among the training and the test data.
    """
    if not (0 < validation < 1 and 0 < test < 1 and validation + test < 1):
        raise ValueError("validation and test must be parts in (0, 1), together less than 1. "
                         f"Received: validation={validation}, test={test}")
    classes = listed(source)
    where, other = (("the training data", "the test data") if isinstance(source, dict)
                    else (source, test_source))
    if len(classes) < 2:
        raise ValueError(f"{where} has images of one class only ({next(iter(classes))}). A classifier needs "
                         "at least two: one directory per class, or another label in the CSV file.")
    tests = listed(test_source) if test_source else {}
    if unknown := sorted(set(tests) - set(classes)):
        raise ValueError(f"{other} has classes that {where} has not: {', '.join(unknown[:10])}")
    known = {identity(path) for files in classes.values() for path in files} if tests else set()
    if both := [path for files in tests.values() for path in files if identity(path) in known]:
        raise ValueError(f"{len(both)} images of {other} are images of {where} too, such as {both[0]}. "
                         "A test needs images that training never saw.")
    every = [path for files in (*classes.values(), *tests.values()) for path in files]
    special, problems = scan(every, check)
    if problems:
        report(problems, len(every), skip_unreadable)
    bad, special = {path for path, _ in problems}, dict(zip(every, special, strict=True))
    names = tuple(sorted(classes))
    parts = {"training": [], "validation": [], "test": []}
    for label, name in enumerate(names):
        files = [path for path in classes[name] if path not in bad]
        cut = cut_class(files, validation, 0 if test_source else test, fold, name)
        own_tests = [path for path in tests.get(name, ()) if path not in bad] if test_source else cut[2]
        for part, chosen in zip(parts.values(), (*cut[:2], own_tests), strict=True):
            part += [(path, label) for path in chosen]
    evaluation_crop = evaluation_crop or CentreCrop(size)
    standardized = Standardized(mean, std, bgr)
    splits = {part: FileExamples(np.array([path for path, _ in rows]),
                                 np.array([label for _, label in rows], np.int64),
                                 np.array([special[path] for path, _ in rows]), evaluation_crop,
                                 prepare or standardized) for part, rows in parts.items()}
    stream = FileStream(splits["training"], batch_size, seed=seed, crop=crop or RandomResizedCrop(size),
                        **stream_options)
    return Splits(stream, **splits, class_names=names,
                  **({} if prepare else {"mean": standardized.mean, "std": standardized.std}))


def listed(source):
    """{class name: sorted paths} of a folder or a CSV file. Raises FileNotFoundError or ValueError."""
    if isinstance(source, dict):
        return source
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"there is no folder or CSV file {source}")
    classes = of_csv(source) if source.is_file() else {
        folder.name: paths_below(folder) for folder in sorted(source.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")}
    empty = [name for name, files in classes.items() if not files]
    if not classes or len(empty) == len(classes):
        loose = sum(Path(path).parent == source for path in paths_below(source))
        seen = f"; {loose} images lie outside of any" if loose else ""
        raise ValueError(f"{source} holds no images of classes: it needs one directory per class, with JPEG, "
                         f"PNG, BMP, GIF, WebP or TIFF files{seen}")
    if empty:
        raise ValueError(f"{source} has directories without images: {', '.join(empty[:10])}. Remove them, or "
                         "put images into them.")
    return classes


def of_csv(source):
    """{label: sorted paths} of a CSV file with columns path, relative to the file's folder, and label."""
    try:
        with open(source, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"path", "label"} <= set(reader.fieldnames or ()):
                raise ValueError(f"{source} must begin with a line that names the columns path and label. "
                                 f"Received: {', '.join(reader.fieldnames or ['nothing'])}")
            rows = [(row["path"], row["label"]) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{source} is no CSV file in UTF-8 ({error}). Save it as one.") from error
    incomplete = [number for number, row in enumerate(rows, 2) if not all(row)]
    if incomplete:
        raise ValueError(f"{source} lacks a path or a label in line {', '.join(map(str, incomplete[:10]))}")
    label_of, classes = {}, {}
    for number, (path, label) in enumerate(rows, 2):
        path = str(source.parent / path)
        file = identity(path)
        if label_of.setdefault(file, label) != label:
            raise ValueError(f"{source} gives {path} the label {label} in line {number} and "
                             f"{label_of[file]} before. An image can have one label.")
        classes.setdefault(label, {}).setdefault(file, path)
    return {label: sorted(files.values()) for label, files in classes.items()}


def identity(path):
    """What all paths to one file have in common; the path itself where there is no file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):                # files.scan says what is wrong with it
        return path
    return (status.st_dev, status.st_ino) if status.st_ino else path       # 0: the file system has no numbers


def cut_class(files, validation, test, fold, name):
    """(training, validation, test) files of one class: the last test, those before them validate."""
    tested = round(test * len(files)) or int(test > 0)
    rest = files[:len(files) - tested]
    if fold:
        part, count = fold
        first, last = len(rest) * (part - 1) // count, len(rest) * part // count
    else:
        last = len(rest)
        first = last - (round(validation * len(files)) or 1)
    training, validates = rest[:max(first, 0)] + rest[last:], rest[max(first, 0):last]
    if not training or not validates:
        raise ValueError(f"the class {name} has too few images that can be read: {len(files)}. It needs at "
                         "least one to train, one to validate and one to test, or one for each fold.")
    return training, validates, files[len(files) - tested:]


def report(problems, count, skip):
    """Raises ValueError about unreadable files, or prints that they are left out."""
    if not skip:
        raise ValueError(f"{told(problems, count)}. Repair or remove them, or leave them out by "
                         "skip_unreadable.")
    print(f"{told(problems, count)}. They are left out.", flush=True)
