"""What stands before a network that was made for larger or otherwise scaled images."""
import keras
from keras import layers


def on_images(network, image_shape=(28, 28, 1), *, black=0.0, white=1.0):
    """A copy of the network for images smaller than its inputs, with pixels in [0, 1], as a Sequential.

    The image comes into the middle of a black frame (an odd row or column is added at the
    bottom and right), then 0 becomes black and 1 becomes white. Adds no parameters.
    Shapes: float (B, *image_shape) in [0, 1] -> what network gives.
    network: a Sequential; the copy has layers of the same names, and its weights.
    Raises ValueError for images larger than the network's, or of other channels, and where black is white.
    """
    if black == white:
        raise ValueError("black and white must differ: no image is to be seen otherwise. "
                         f"Received: {black}, {white}")
    height, width, channels = network.input_shape[1:]
    rows, columns = height - image_shape[0], width - image_shape[1]
    if rows < 0 or columns < 0 or image_shape[2] != channels:
        raise ValueError(f"images must be at most {height}x{width} with {channels} channels. "
                         f"Received: image_shape={tuple(image_shape)}")
    stack = [keras.Input(image_shape, name="image")]
    if rows or columns:
        above, left = rows // 2, columns // 2
        stack.append(layers.ZeroPadding2D(((above, rows - above), (left, columns - left)), name="frame"))
    if (black, white) != (0.0, 1.0):
        stack.append(layers.Rescaling(white - black, black, name="contrast"))
    for layer in network.layers:         # a layer in two models would know the outputs of the first alone
        stack.append(type(layer).from_config(layer.get_config()))
    model = keras.Sequential(stack, name=network.name)
    model.set_weights(network.get_weights())
    return model
