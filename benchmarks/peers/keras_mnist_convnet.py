"""keras-io's examples/vision/mnist_convnet.py, run until the test accuracy reaches a target.

Source: keras.io/examples/vision/mnist_convnet. Network, optimiser, batch size and validation
split are the example's; it has 15 epochs and evaluates the test set once, while here the test
set is evaluated after each epoch, to find the first that reaches the target.
Run: python keras_mnist_convnet.py MNIST.npz [--target .99] [--epochs 15] [--examples N]
Prints one JSON line per epoch: epoch, test_accuracy, seconds spent on that evaluation.
"""
import argparse
import json
import time

import keras
import numpy as np
from keras import layers

parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("--target", type=float, default=0.99)
parser.add_argument("--epochs", type=int, default=15)
parser.add_argument("--examples", type=int)            # the first so many training images
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()

keras.utils.set_random_seed(arguments.seed)
with np.load(arguments.data) as file:                  # the layout of keras.datasets.mnist's mnist.npz
    x_train, y_train = file["x_train"][:arguments.examples], file["y_train"][:arguments.examples]
    x_test, y_test = file["x_test"], file["y_test"]
x_train = np.expand_dims(x_train.astype("float32") / 255, -1)
x_test = np.expand_dims(x_test.astype("float32") / 255, -1)
y_train, y_test = (keras.utils.to_categorical(y, 10) for y in (y_train, y_test))

model = keras.Sequential([
    keras.Input((28, 28, 1)),
    layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
    layers.MaxPooling2D(pool_size=(2, 2)),
    layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
    layers.MaxPooling2D(pool_size=(2, 2)),
    layers.Flatten(),
    layers.Dropout(0.5),
    layers.Dense(10, activation="softmax"),
])
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])


class Target(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        started = time.perf_counter()
        accuracy = self.model.evaluate(x_test, y_test, batch_size=1000, verbose=0)[1]
        print(json.dumps({"epoch": epoch + 1, "test_accuracy": accuracy,
                          "evaluation_seconds": time.perf_counter() - started}), flush=True)
        self.model.stop_training = accuracy >= arguments.target


model.fit(x_train, y_train, batch_size=128, epochs=arguments.epochs, validation_split=0.1, verbose=0,
          callbacks=[Target()])
