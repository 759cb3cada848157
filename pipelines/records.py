"""Images in TFDS's files of records, each read by itself and in any order.

A TFRecord file has no index: to come to the thousandth record one reads the lengths of all before it.
listed goes through the files once and keeps where each record lies and what its label is. An image is
then named as a file is, FILE:OFFSET:LENGTH, and pipelines.files reads it as one.

Source: tensorflow/core/lib/io/record_writer.h; a record is its length (8 bytes), a checksum of that (4),
the data, and a checksum of these (4).
"""
import contextlib
import os
import re
import struct
from pathlib import Path

import numpy as np
import tensorflow as tf

HEADER, CHECKSUM = struct.Struct("<QI"), 4
NAMED = r".*:\d+:\d+"


def listed(builder, split):
    """{class: [FILE:OFFSET:LENGTH]} of a split whose records have an image and a label, in TFDS's order.

    What was found is kept beside the files, if their folder can be written.
    Raises ValueError for other files than those of records, or a damaged one.
    """
    info = builder.info.splits[split]
    files = [str(path) for path in info.filepaths]
    if ".tfrecord" not in files[0]:
        raise ValueError(f"{builder.data_path} was not prepared as files of records: {Path(files[0]).name}. "
                         "Prepare it with TFDS's own file format, tfrecord.")
    kept = Path(builder.data_path) / f"index-{split}.npz"
    found = read_kept(kept, files)
    if found is None:
        print(f"{split}: reading through {len(files)} files of records, once", flush=True)
        parts = [scanned(path) for path in files]
        found = {name: np.concatenate([part[index] for part in parts])
                 for index, name in enumerate(("offsets", "lengths", "labels"))}
        found |= {"counts": np.array([len(part[0]) for part in parts]), "sizes": sizes(files)}
        keep(kept, found)
    names = np.repeat(np.array(files, object), found["counts"])
    classes = {name: [] for name in builder.info.features["label"].names}
    of_label = list(classes.values())
    for name, offset, length, label in zip(names, found["offsets"].tolist(), found["lengths"].tolist(),
                                           found["labels"].tolist(), strict=True):
        of_label[label].append(f"{name}:{offset}:{length}")
    return classes


def scanned(path):
    """(offsets, lengths, labels) of the records in a file, int64 (N,) each. Raises ValueError."""
    rows, end = [], Path(path).stat().st_size
    with open(path, "rb") as file:
        while file.tell() < end:
            header = file.read(HEADER.size)
            length = HEADER.unpack(header)[0] if len(header) == HEADER.size else end
            offset = file.tell()
            if offset + length + CHECKSUM > end:
                raise ValueError(f"{path} is damaged: it ends within a record")
            example = tf.train.Example.FromString(file.read(length))
            rows.append((offset, length, example.features.feature["label"].int64_list.value[0]))
            file.seek(CHECKSUM, os.SEEK_CUR)
    return np.array(rows, np.int64).reshape(-1, 3).T


def sizes(files):
    """Bytes of each file: int64 (N,)."""
    return np.array([Path(path).stat().st_size for path in files])


def read_kept(path, files):
    """What keep wrote for these files, or None."""
    with contextlib.suppress(OSError, KeyError, ValueError, EOFError), np.load(path) as stored:
        found = {name: stored[name] for name in stored.files}
        return found if np.array_equal(found["sizes"], sizes(files)) else None
    return None


def keep(path, found):
    """Writes the arrays in one rename; a folder that refuses is left as it is."""
    part = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    with contextlib.suppress(OSError):
        try:
            np.savez(part, **found)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def contents(path):
    """The bytes of an image, by its name: string scalar of a file, or FILE:OFFSET:LENGTH of a record."""
    def record():
        example = tf.numpy_function(read, [path], tf.string)
        return tf.io.parse_single_example(example, {"image": tf.io.FixedLenFeature([], tf.string)})["image"]
    return tf.cond(tf.strings.regex_full_match(path, NAMED), record, lambda: tf.io.read_file(path))


def file_of(name):
    """The path in the name of an image."""
    return name.rsplit(":", 2)[0] if re.fullmatch(NAMED, name) else name


def read(name):
    """The data of a record, by its name, bytes in an array. Raises OSError."""
    path, offset, length = np.asarray(name).item().decode().rsplit(":", 2)
    with open(path, "rb") as file:
        file.seek(int(offset))
        return file.read(int(length))
