"""Digits made equally wide, however they were written."""
import numpy as np


def of_width(images, width):
    """The drawn part of each image stretched or squeezed to so many columns, in the middle of the image.

    What is drawn lies between the first and last column that is not all zero; its height stays.
    images uint8 (N, H, W, C) -> the same shape. Cirešan et al. 2012, section 3.1: 10, 12, ..., 20
    pixels for MNIST's 28x28. Linear interpolation; where it squeezes, each column is the mean
    over as many as come together, weighted by a triangle. An image without ink stays as it is.
    Raises ValueError for a width outside [1, W] or images of another type.
    """
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"images must be uint8 (N, H, W, C). Received: {images.dtype} {images.shape}")
    columns = images.shape[2]
    if not 1 <= width <= columns:
        raise ValueError(f"width must be in [1, {columns}] pixels. Received: {width}")
    return np.concatenate([of_width_in_memory(part, width)
                           for part in np.split(images, range(1000, len(images), 1000))])


def of_width_in_memory(images, width):
    """As of_width; makes a weight for each pair of old and new column of each image."""
    columns = np.arange(images.shape[2])
    drawn = images.any(axis=(1, 3))                                              # (N, W)
    first, last = drawn.argmax(axis=1), columns[-1] - drawn[:, ::-1].argmax(axis=1)
    ratio = (last - first + 1) / width                                   # columns that become one
    centres = first[:, None] + (np.arange(width) + 0.5) * ratio[:, None] - 0.5    # (N, width)
    reach = np.maximum(ratio, 1)[:, None, None]
    weights = np.maximum(0, 1 - np.abs(columns - centres[..., None]) / reach)     # (N, width, W)
    weights *= ((columns >= first[:, None]) & (columns <= last[:, None]))[:, None]
    weights = (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)
    stretched = np.einsum("nwk,nhkc->nhwc", weights, images.astype(np.float32), optimize=True)
    result, left = np.zeros_like(images), (len(columns) - width) // 2
    result[:, :, left:left + width] = np.round(stretched)
    blank = ~drawn.any(axis=1)
    result[blank] = images[blank]
    return result
