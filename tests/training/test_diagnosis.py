"""A loss that is not finite: the right step and the right layer."""
import re

import keras
import numpy as np
import pytest

from pipelines.stream import Examples, Stream
from training import Run, diagnosis
from training.diagnosis import first_not_finite


@keras.saving.register_keras_serializable("tests")
class Logarithm(keras.layers.Layer):
    def call(self, inputs):
        return keras.ops.log(inputs)


def network(*layers, loss="mse"):
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


def ones(*layers, loss="mse"):
    return network(*layers, loss=loss), np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)


def test_all_finite():
    assert first_not_finite(*ones(keras.layers.Dense(2))) is None


def test_a_layer_is_named_by_its_output():
    model = ones(keras.layers.Dense(2, kernel_initializer="ones", name="first"), keras.layers.Rescaling(-1.0),
                 Logarithm(name="of_negatives"), keras.layers.Dense(2, name="last"))
    assert "/of_negatives (Logarithm)" in first_not_finite(*model)
    assert "call" not in vars(model[0].layers[2])                  # nothing is left of the recording


def test_layers_of_nested_models_are_named():
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(-1.0), Logarithm(name="inside")],
                             name="block")
    model = ones(keras.layers.Dense(2, kernel_initializer="ones"), inner)
    assert "inside (Logarithm)" in first_not_finite(*model)


def test_gradients_weights_and_inputs_are_named():
    class Root(keras.losses.Loss):
        def call(self, wanted, given):
            return keras.ops.sqrt(keras.ops.mean((wanted - given) ** 2, axis=-1))     # slope at 0: infinite
    model, x, y = ones(keras.layers.Dense(2, kernel_initializer="zeros", bias_initializer="ones", name="one"),
                       loss=Root())
    assert re.search("the gradient of .*one/(bias|kernel)", first_not_finite(model, x, y))
    assert first_not_finite(model, x * np.nan, y) == "the inputs of the batch"
    model.layers[0].bias.assign([np.inf, 0])
    assert first_not_finite(model, x, y) == f"the weights {model.layers[0].bias.path}"


@pytest.mark.parametrize("strategy", ["none", "mirrored"])
@pytest.mark.parametrize("every", [4, 1000])
def test_a_run_names_step_layer_and_last_good_loss(tmp_path, strategy, every):
    inputs = np.ones((40, 3), np.float32)
    inputs[26] = 1e30                                              # in batch 13; its square overflows
    stream = Stream(Examples(inputs, np.ones((40, 2), np.float32)), 2, order="fixed")
    run = Run(tmp_path, strategy=strategy, checkpoint_every=every)
    with run.scope():
        model = network(keras.layers.Dense(2, name="dense"), keras.layers.Dropout(0.1))
    with pytest.raises(FloatingPointError) as error:
        run.fit(model, stream, updates=20, validate_every=20, steps_per_execution=5, verbose=0)
    assert re.match(r"the loss became (inf|nan) at update 13 \(it was [\d.e-]+ at update 12\)\. First not "
                    r"finite: the loss, of outputs that are all finite\. ", str(error.value)), error.value
    kept = "The last checkpoint, of update 12, is kept" if every == 4 else "No checkpoint was due before it"
    assert kept in str(error.value)
    assert len(list(tmp_path.glob("checkpoints/[0-9]*"))) == (2 if every == 4 else 0)


def test_layers_whose_computation_a_run_exchanges_are_looked_into_and_restored(tmp_path):
    inputs = np.ones((8, 4, 4, 3), np.float32)
    inputs[2:] = np.nan
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 1),
                              keras.layers.BatchNormalization(), keras.layers.Flatten(),
                              keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    stream = Stream(Examples(inputs, np.ones((8, 2), np.float32)), 2, order="fixed")
    with pytest.raises(FloatingPointError, match="First not finite: the inputs of the batch"):
        Run(tmp_path).fit(model, stream, updates=4, verbose=0)
    assert not [layer.name for layer in model.layers if "call" in vars(layer)]


def test_an_update_that_made_the_weights_infinite_is_found_behind_the_one_that_shows_it(tmp_path):
    inputs = np.ones((40, 3), np.float32)
    inputs[26] = 4e19                                      # loss 7e37; the gradient, 5e38, is infinite
    stream = Stream(Examples(inputs, np.ones((40, 1), np.float32)), 2, order="fixed")
    model = network(keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(0.1),
                                       name="dense"))
    model.optimizer.learning_rate = 1e-6                           # the weights stay near 0.1
    message = r"at update 14 \(it was .* at update 13\).*First not finite: the gradient of .*dense/kernel"
    with pytest.raises(FloatingPointError, match=message):
        Run(tmp_path).fit(model, stream, updates=20, steps_per_execution=5, verbose=0)


def test_what_does_not_recur_is_said(monkeypatch):
    model, *batch = ones(keras.layers.Dense(2))
    told = diagnosis.trace(3, 5, update=lambda i: {"loss": 1.0}, batch=lambda i: batch, model=model)
    assert "between the updates 3 and 5" in told and "does not repeat a computation exactly" in told


def test_a_resumed_run_is_traced_from_its_checkpoint(tmp_path):
    """Killed after update 10, resumed, and not finite at 13 before another checkpoint was due."""
    class Stop(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch >= 10:
                raise InterruptedError

    inputs = np.ones((40, 3), np.float32)
    inputs[26] = 1e30
    stream = Stream(Examples(inputs, np.ones((40, 2), np.float32)), 2, order="fixed")

    def trained(*callbacks):
        run = Run(tmp_path, checkpoint_every=10, resume=(tmp_path / "config.json").exists())
        run.fit(network(keras.layers.Dense(2)), stream, updates=20, validate_every=20, steps_per_execution=5,
                callbacks=callbacks, verbose=0)
    with pytest.raises(InterruptedError):
        trained(Stop())
    with pytest.raises(FloatingPointError, match="at update 13 .* The last checkpoint, of update 10,"):
        trained(keras.callbacks.Callback())
