"""TensorFlow Datasets as arrays: its cache, else its download, else one plain sentence."""
import contextlib
import logging
import os
import shutil
import socket
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

import numpy as np

PATIENCE = 10                    # seconds to wait for the first answer of a server


def arrays(name, split, *, offline):
    """A whole split of an image classification set of TFDS, in its fixed order.

    -> images uint8 (N, H, W, C), labels int64 (N,). The folder is TFDS_DATA_DIR, else
    ~/tensorflow_datasets. What was decoded once is kept there as arrays-<split>.npz, if the
    folder can be written: that spares the next process the decoding and the import of TFDS.
    offline names the data that works without a download, for the message of the
    FileNotFoundError that is raised when there is neither cache nor network.
    """
    folder = data_folder()
    kept = read_kept(folder / name, split)
    if kept is not None:
        return kept
    builder = prepared(name, folder, offline)
    dataset = builder.as_dataset(split=split, as_supervised=True, shuffle_files=False, batch_size=-1)
    images, labels = (np.asarray(values) for values in dataset)
    labels = labels.astype(np.int64)
    keep(Path(builder.data_path), split, images, labels)
    return images, labels


def examples(name, split, *, offline):
    """One by one the examples of a split, in its fixed order: dicts of NumPy arrays, of any shape.

    For what does not make an array, such as sounds of several lengths. Else as arrays.
    """
    import tensorflow_datasets as tfds
    builder = prepared(name, data_folder(), offline)
    yield from tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False))


def data_folder():
    """TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def prepared(name, folder, offline):
    """The TFDS builder of that name, its data downloaded. Raises FileNotFoundError, as arrays says."""
    import tensorflow_datasets as tfds
    try:
        builder = tfds.builder(name, data_dir=folder)
        if not builder.data_path.exists():
            if not any((folder / "downloads").glob("*")):        # else TFDS may have fetched it already
                require_network(builder)
            with nothing_left_behind(folder, folder / "downloads", folder / name.split("/")[0]):
                builder.download_and_prepare()
    except (OSError, RuntimeError, tfds.core.DatasetNotFoundError, tfds.download.DownloadError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise FileNotFoundError(
            f"{name} is not in {folder} and could not be downloaded ({reason}). Name the folder that has it "
            f"with --data-dir or TFDS_DATA_DIR, or use --data {offline}, which needs no download.") from error
    return builder


def texts(name, split, *, offline):
    """A whole split of texts: str (N,), as an object array, and int64 labels (N,), or None where it has none.

    In TFDS's fixed order. offline, and the FileNotFoundError: as of arrays.
    """
    builder = prepared(name, data_folder(), offline)
    dataset = builder.as_dataset(split=split, shuffle_files=False, batch_size=-1)
    columns = {key: np.asarray(values) for key, values in dataset.items()}
    found = np.array([text.decode() for text in columns["text"]], dtype=object)
    return found, columns["label"].astype(np.int64) if "label" in columns else None


def read_kept(folder, split):
    """What keep wrote for the one version in folder, or None.

    None also where there are several versions, so that TFDS chooses, where one of TFDS's own
    files is newer than the arrays, and where the file is damaged: its checksums are read.
    """
    versions = [path for path in folder.glob("*.*.*") if path.is_dir()]
    if len(versions) != 1:
        return None
    path = versions[0] / f"arrays-{split}.npz"
    try:
        written = path.stat().st_mtime_ns
        own = [file for file in versions[0].iterdir() if "arrays-" not in file.name]
        if not own or any(file.stat().st_mtime_ns > written for file in own):
            return None
        with np.load(path, allow_pickle=False) as file:
            return file["images"], file["labels"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def keep(folder, split, images, labels):
    """Writes the arrays beside TFDS's files, in one rename; a folder that refuses is left as it is."""
    part = folder / f".arrays-{split}.{os.getpid()}.npz"
    with contextlib.suppress(OSError):
        try:
            np.savez(part, images=images, labels=labels)
            os.replace(part, folder / f"arrays-{split}.npz")
        finally:
            part.unlink(missing_ok=True)


def require_network(builder):
    """Raises OSError at once where a download would be retried for minutes: its server is out of reach.

    With a proxy it is the proxy that has to reach it, so nothing is checked.
    """
    if urllib.request.getproxies():
        return
    for host in sorted({urllib.parse.urlsplit(url).hostname for url in builder.url_infos} - {None}):
        try:
            socket.create_connection((host, 443), timeout=PATIENCE).close()
        except OSError:
            try:
                socket.create_connection((host, 80), timeout=PATIENCE).close()
            except OSError as error:
                raise OSError(f"no connection to {host}") from error


@contextlib.contextmanager
def nothing_left_behind(*folders):
    """Removes those of the folders that came into being, if what made them fails or is interrupted."""
    new = [folder for folder in folders if not folder.exists()]
    logging.getLogger("urllib3").setLevel(logging.ERROR)         # the failure is told in a sentence
    try:
        yield
    except BaseException:
        for folder in reversed(new):
            shutil.rmtree(folder, ignore_errors=True)
        raise
