"""States carried from batch to batch: exact resume, evaluations apart, and that they are needed."""
import keras
import numpy as np
import pytest
from test_loop import InterruptAfter, Interrupted, assert_same_weights, trained

from models import recurrent_language_model
from pipelines.characters import Continued, Passage
from training import checkpoint
from training.carried import Apart, carried_states, forget

TEXT = np.random.default_rng(0).integers(1, 6, 600).astype(np.int32)


def network(stateful=True, cell="lstm"):
    model = recurrent_language_model(6, cell=cell, units=(5, 4), batch_size=4, stateful=stateful, dropout=0.2)
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def values(model):
    return [np.asarray(state) for state in carried_states(model)]


@pytest.mark.slow
def test_an_interrupted_run_goes_on_with_its_states(tmp_path):
    stream, passage = Continued(TEXT, 4, 6), Passage(TEXT[:100], 4, 6)
    options = {"updates": 24, "validate_every": 12, "steps_per_execution": 3, "checkpoint_every": 3,
               "build": network}
    whole, history = trained(tmp_path / "whole", stream, passage, **options)
    with pytest.raises(Interrupted):
        trained(tmp_path / "cut", stream, passage, callbacks=[InterruptAfter(2)], **options)
    again, resumed = trained(tmp_path / "cut", stream, passage, **options)
    assert_same_weights(whole, again)
    assert resumed == history
    for one, other in zip(values(whole), values(again), strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.abs(one).max() > 0


def test_training_starts_from_zero_states_and_carries_them(tmp_path):
    """After two updates its states are those of a network that reads both batches in one go."""
    stream = Continued(TEXT, 4, 6)
    model, _ = trained(tmp_path / "run", stream, updates=2, validate_every=2, build=frozen)
    plain = frozen(stateful=False)
    plain.set_weights(model.get_weights())
    both = np.concatenate([stream.batch(0)[0], stream.batch(1)[0]], axis=1)
    states = keras.Model(plain.input, plain.get_layer("recurrent1").output)(both)[:, -1]
    np.testing.assert_allclose(values(model)[0], states, atol=1e-5)


def frozen(stateful=True):
    """Without dropout, and with a rate so small that its weights stay as they are."""
    model = recurrent_language_model(6, units=(5,), batch_size=4, stateful=stateful)
    model.compile(keras.optimizers.SGD(1e-12), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_evaluation_starts_from_zero_and_leaves_the_states(cell):
    model = network(cell=cell)
    data = Passage(TEXT[:100], 4, 6).dataset()
    fresh = model.evaluate(data, callbacks=[Apart()], verbose=0)
    model(Continued(TEXT, 4, 6).batch(0)[0])
    before = values(model)
    assert len(before) == (4 if cell == "lstm" else 2) and all(np.abs(state).max() > 0 for state in before)
    assert model.evaluate(data, callbacks=[Apart()], verbose=0) == fresh
    for state, other in zip(values(model), before, strict=True):
        np.testing.assert_array_equal(state, other)
    forget(model)
    assert not any(np.any(state) for state in values(model))


def test_checkpoints_hold_the_states():
    model = network()
    model.optimizer.build(model.trainable_variables)
    found = {id(variable) for variable in checkpoint.variables(model)}
    assert {id(state) for state in carried_states(model)} <= found
    assert carried_states(network(stateful=False)) == []
