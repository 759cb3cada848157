"""Errors in reading files while a network trains or is evaluated: told by the names of the files."""
import contextlib

import tensorflow as tf

# What the operations raise that read and decode files; UnknownError is that of Python functions among them.
ERRORS = (tf.errors.InvalidArgumentError, tf.errors.NotFoundError, tf.errors.PermissionDeniedError,
          tf.errors.FailedPreconditionError, tf.errors.DataLossError, tf.errors.UnknownError)


def on_disk(stream):
    """Whether the batches of a stream are read from files, and are to be read ahead of time."""
    return getattr(stream, "on_disk", False)


@contextlib.contextmanager
def named(examples, saved=None):
    """Turns an error of reading a finite split of files into a ValueError that names the files.

    saved: called before; it saves the training and says how far it has come.
    """
    try:
        yield
    except ERRORS as error:
        if not hasattr(examples, "explained"):
            raise
        raise told(examples.explained(error), saved() if saved else "") from error


def told(error, progress):
    """The error with what to do about it; one that is not about files stays as it is."""
    if not isinstance(error, ValueError):
        return error
    return ValueError(f"{error}. {progress}Put readable images in their place"
                      + (", then resume the run." if progress else "."))
