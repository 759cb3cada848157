"""TensorFlow Datasets as arrays: its cache, else its download, else one plain sentence."""
import os
from pathlib import Path

import numpy as np


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
            builder.download_and_prepare()
    except (OSError, RuntimeError, tfds.core.DatasetNotFoundError,
            tfds.download.DownloadError if hasattr(tfds.download, "DownloadError") else OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise FileNotFoundError(
            f"{name} is not in {folder} and could not be downloaded ({reason}). Name the folder that has it "
            f"with --data-dir or TFDS_DATA_DIR, or use --data {offline}, which needs no download.") from error
    dataset = builder.as_dataset(split=split, as_supervised=True, shuffle_files=False, batch_size=-1)
    images, labels = dataset
    return np.asarray(images), np.asarray(labels, np.int64)
