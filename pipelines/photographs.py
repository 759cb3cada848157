"""Two photographs that come with scikit-learn, under a Creative Commons licence: no download.

Attribution: sklearn/datasets/images/README.txt (danielbuechele and vultilion on flickr).
"""
import numpy as np

NAMES = ("china", "flower")


def load(name="china"):
    """-> float32 (427, 640, 3) in [0, 1], red, green and blue. Raises ValueError for another name."""
    from sklearn.datasets import load_sample_image
    if name not in NAMES:
        raise ValueError(f"photograph must be one of {', '.join(NAMES)}. Received: {name}")
    return load_sample_image(f"{name}.jpg").astype(np.float32) / 255


def grey(photograph):
    """(H, W, 3) -> (H, W), in the weights of ITU-R BT.601."""
    return photograph @ np.array([0.299, 0.587, 0.114], np.float32)
