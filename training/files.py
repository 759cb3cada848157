"""Files that survive a crash: written beside their place, then renamed into it."""
import contextlib
import json
import os
from pathlib import Path


@contextlib.contextmanager
def replacing(path, *, named=None):
    """Yields a temporary path in the same folder; on success it is synced and renamed to path.

    named: for a name that depends on the content, a function of the written file that
    gives the final path; path then only says the folder and the suffix.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part{path.suffix}")       # Keras looks at the suffix
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, named(part) if named else path)
        sync_folder(path.parent)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error     # a full disk does not say where
    finally:
        part.unlink(missing_ok=True)


def sync_folder(folder):
    """Makes a rename last through a power failure, where the system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_parts(folder):
    """Removes what a process killed while writing left in a folder."""
    for part in Path(folder).glob(".*.part*"):
        part.unlink(missing_ok=True)


def write_json(path, value):
    """Writes a value as JSON: the whole file or, where that fails, the old one stays."""
    with replacing(path) as part:
        part.write_text(json.dumps(value, indent=1) + "\n")


def read_json(path):
    """The value in a JSON file. Raises ValueError, naming the file, if it is not JSON."""
    try:
        return json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
