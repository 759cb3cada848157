"""Files that survive a crash: written beside their place, then renamed into it."""
import contextlib
import json
import os
from pathlib import Path


@contextlib.contextmanager
def replacing(path):
    """Yields a temporary path in the same folder; on success it is synced and renamed to path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part{path.suffix}")       # Keras looks at the suffix
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error     # a full disk does not say where
    finally:
        part.unlink(missing_ok=True)


def write_json(path, value):
    with replacing(path) as part:
        part.write_text(json.dumps(value, indent=1) + "\n")


def read_json(path):
    """The value in a JSON file. Raises ValueError, naming the file, if it is not JSON."""
    try:
        return json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
