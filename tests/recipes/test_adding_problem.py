"""adding_problem: it learns, it stops when it has, and its gradients through time are the tape's own."""
import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines import memory_problems
from recipes.sequences import adding_problem
from recipes.sequences.adding_problem import LOSSES, NAMED, SMOKE, compiled_model, gradients_through_time
from training import Run


def test_smoke_learns_and_stops(smoke_run, drawn):
    folder, metrics = smoke_run("adding_problem")
    assert metrics["test_loss"] < 0.02 < metrics["baseline"]                            # baseline: .167
    assert metrics["val_loss"] < SMOKE.solved and metrics["updates"] < SMOKE.updates
    drawn(folder, "gradients")
    with np.load(folder / "figures" / "gradients.npz") as lengths:
        assert lengths["first"].shape == lengths["trained"].shape == (SMOKE.steps,)
        assert (lengths["first"] > 0).all()


@pytest.mark.parametrize("problem", ["adding", "temporal_order", "copy"])
@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_gradients_through_time(problem, cell):
    """By the tape, beside differences of the loss when a state is moved a little."""
    config = dataclasses.replace(SMOKE, problem=problem, cell=cell, units=4)
    data = memory_problems.load(problem, 2, steps=10, validation=1, test=1)
    keras.utils.set_random_seed(1)
    model = compiled_model(config, data)
    lengths = gradients_through_time(model, data.validation, LOSSES[problem])
    x, labels = data.validation.arrays()
    steps = len(lengths)
    assert steps == (x.shape[1])
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.RNN))
    rows = np.asarray(model.get_layer("one_hot")(x)) if problem == "copy" else x

    def loss(moved_at=None, part=0, unit=0, by=0.0):
        states, outputs = [np.asarray(state) for state in layer.get_initial_state(1)], []
        for t in range(steps):
            if rows[:, t].any():
                states = [np.array(state) for state in layer.cell(tf.constant(rows[:, t]), states)[1]]
            if t == moved_at:
                states[part][0, unit] += by
            outputs.append(states[0])
        last = np.stack(outputs, axis=1) if problem == "copy" else states[0]
        return float(LOSSES[problem](labels, model.get_layer("logits")(last)))
    if cell == "rnn" or problem == "adding":           # enough to tell the states of both apart
        for t in (2, steps - 2):
            parts = len(layer.get_initial_state(1))
            slopes = [(loss(t, part, unit, 0.01) - loss(t, part, unit, -0.01)) / 0.02
                      for part in range(parts) for unit in range(4)]
            assert np.linalg.norm(slopes) == pytest.approx(lengths[t], rel=0.05, abs=1e-5)
    assert loss() == pytest.approx(float(LOSSES[problem](labels, model(x))), rel=1e-4)


def test_a_solved_problem_ends_the_training():
    callback = adding_problem.Solved(0.1, 2)
    callback.set_model(keras.Sequential())
    for value, stops in ((0.05, False), (0.2, False), (0.05, False), (0.05, True)):
        callback.on_epoch_end(0, {"val_loss": value})
        assert bool(getattr(callback.model, "stop_training", False)) is stops


def test_the_other_problems_have_their_networks():
    for problem, outputs in (("temporal_order", (None, 4)), ("copy", (None, 30, 10))):
        config = dataclasses.replace(SMOKE, problem=problem)
        data = memory_problems.load(problem, 2, steps=10, validation=4, test=4)
        model = compiled_model(config, data)
        assert model.output_shape == outputs
        loss = model.evaluate(data.validation.dataset(), verbose=0, return_dict=True)["loss"]
        assert np.isfinite(loss)


@pytest.mark.slow
def test_all_cells_in_one_picture(tmp_path, drawn):
    tiny = {"steps": 10, "units": 4, "updates": 4, "validate_every": 2, "batch_size": 4}
    configs = {name: dataclasses.replace(NAMED[name], **tiny) for name in ("rnn-100", "gru-100")}
    run = Run(tmp_path / "run", recipe="adding_problem", configs=configs)
    results = {}
    for name, config in configs.items():
        child = run.child(name, config)
        results[name] = adding_problem.main(config, child)
        child.finish(results[name])
    adding_problem.compare(run, results)
    drawn(run.folder, "gradients_10")
