"""An image as a sequence: by pixel, by pixel in another order, or by row."""
import keras
import numpy as np
from keras import layers, ops

ORDERS = ("pixels", "permuted", "rows")


@keras.saving.register_keras_serializable("models")
class ImageSequence(layers.Layer):
    """(B, H, W, C) -> (B, H * W, C) pixel by pixel, row after row, or for order="rows" (B, H, W * C).

    order="permuted": the pixels in an order that is the same for all images, np.random.RandomState(seed)'s
    permutation of H * W, a generator whose numbers NumPy has frozen. The loaded network has it from the seed.
    Source: Le, Jaitly and Hinton 2015, arXiv:1504.00941, section 4.2.
    Raises ValueError for another order.
    """

    def __init__(self, order="pixels", seed=0, **kwargs):
        super().__init__(**kwargs)
        if order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}. Received: {order!r}")
        self.order, self.seed = order, seed

    def build(self, input_shape):
        _, height, width, _ = input_shape
        self.permutation = np.random.RandomState(self.seed).permutation(height * width)

    def call(self, images):
        height, width, channels = images.shape[1:]
        if self.order == "rows":
            return ops.reshape(images, (-1, height, width * channels))
        pixels = ops.reshape(images, (-1, height * width, channels))
        return ops.take(pixels, self.permutation, axis=1) if self.order == "permuted" else pixels

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return ((batch, height, width * channels) if self.order == "rows"
                else (batch, height * width, channels))

    def get_config(self):
        return {**super().get_config(), "order": self.order, "seed": self.seed}
