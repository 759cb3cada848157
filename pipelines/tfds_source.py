"""TensorFlow Datasets as arrays: its cache, else its download, else one plain sentence."""
import contextlib
import logging
import os
import shutil
import socket
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np

PATIENCE = 10                    # seconds to wait for the first answer of a server


def arrays(name, split, *, offline):
    """A whole split of an image classification set of TFDS, in its fixed order.

    -> images uint8 (N, H, W, C), labels int64 (N,). The folder is TFDS_DATA_DIR, else
    ~/tensorflow_datasets. offline names the data that works without a download, for the
    message of the FileNotFoundError that is raised when there is neither cache nor network.
    """
    import tensorflow_datasets as tfds
    folder = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    try:
        builder = tfds.builder(name, data_dir=folder)
        if not builder.data_path.exists():
            require_network(builder)
            with nothing_left_behind(folder, folder / "downloads", folder / name.split("/")[0]):
                builder.download_and_prepare()
    except (OSError, RuntimeError, tfds.core.DatasetNotFoundError, tfds.download.DownloadError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise FileNotFoundError(
            f"{name} is not in {folder} and could not be downloaded ({reason}). Name the folder that has it "
            f"with --data-dir or TFDS_DATA_DIR, or use --data {offline}, which needs no download.") from error
    dataset = builder.as_dataset(split=split, as_supervised=True, shuffle_files=False, batch_size=-1)
    images, labels = dataset
    return np.asarray(images), np.asarray(labels, np.int64)


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
