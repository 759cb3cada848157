"""Who remembers? Plain networks, LSTM and GRU where the answer lies hundreds of steps back.

Source     Hochreiter and Schmidhuber 1997, Long short-term memory, section 5 (temporal order); Le, Jaitly and
           Hinton 2015, arXiv:1504.00941, section 4.1 (adding); Arjovsky et al. 2016, arXiv:1511.06464 (copy).
Run        python -m recipes run adding_problem --config all --jit on    (also --problem temporal_order, copy)
Published  Adding over 600 steps: mean squared error .177 (RNN), .164 (LSTM), .000053 (GRU), by Bai et al.
           2018, arXiv:1803.01271; over 100 steps, of its own definition, the LSTM of 1997: 1 wrong of 2,560.
Departs    New sequences all the time, where Le et al. have 100,000; Adam. First biases of LSTM and GRU after
           Tallec and Ollivier 2018; --no-chrono leaves Keras's. Training ends when the validation error has
           been below .001 five times in a row, and the weights with the least one are taken.

The gradient of the loss by the state at step t is a product of T - t matrices. In a plain network they shrink
it, by the tanh and the weights; a gate that is open multiplies it by nearly 1 (the picture "gradients").
"""
import dataclasses
from typing import Literal

import keras
import numpy as np

from models import recurrent_classifier, recurrent_language_model
from pipelines import memory_problems
from training import launch
from training.run import read_history


@dataclasses.dataclass(frozen=True)
class Config:
    problem: Literal["adding", "temporal_order", "copy"] = "adding"      # pipelines/memory_problems.py
    cell: Literal["rnn", "irnn", "lstm", "gru"] = "lstm"
    steps: int = 100             # T: how far back the answer may lie
    units: int = 64
    chrono: bool = True          # first biases of lstm and gru: remember 1 to T steps
    learning_rate: float = 0.01  # of Adam
    clip: float = 1.0            # largest norm of all gradients together (Pascanu et al. 2013)
    batch_size: int = 64         # over all devices
    updates: int = 6_000         # at most
    validate_every: int = 100    # updates
    solved: float = 0.001        # validation loss that ends the training ...
    times: int = 5               # ... when it has been below so many times in a row


CELLS = ("rnn", "irnn", "lstm", "gru")
NAMED = {
    "rnn-100": Config(cell="rnn", learning_rate=0.001),
    "irnn-100": Config(cell="irnn", learning_rate=0.001),
    "lstm-100": Config(),
    "gru-100": Config(cell="gru"),
    "rnn-400": Config(cell="rnn", learning_rate=0.001, steps=400),
    "irnn-400": Config(cell="irnn", learning_rate=0.001, steps=400),
    "lstm-400": Config(steps=400),
    "gru-400": Config(cell="gru", steps=400),
}
HEADLINE = "test_loss"
UNIT = "mean squared error"      # of adding; of the other problems the cross-entropy
SMOKE = Config(steps=10, units=16, learning_rate=0.02, updates=300, validate_every=50, solved=0.01, times=1)
LOSSES = {"adding": keras.losses.MeanSquaredError(),
          "temporal_order": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
          "copy": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
METRICS = {"temporal_order": ["accuracy"]}


def compiled_model(config, data):
    memory = config.steps if config.chrono and config.cell in ("lstm", "gru") else None
    options = {"cell": config.cell, "units": (config.units,), "memory": memory}
    if config.problem == "copy":
        model = recurrent_language_model(10, steps=data.input_shape[0], **options)
    else:
        model = recurrent_classifier(data.input_shape, max(1, len(data.class_names)),
                                     masked=config.problem == "temporal_order", **options)
    model.compile(keras.optimizers.Adam(config.learning_rate, global_clipnorm=config.clip),
                  LOSSES[config.problem], metrics=METRICS.get(config.problem))
    return model


class Solved(keras.callbacks.Callback):
    """Ends the training when the validation loss has been below `bound` so many times in a row."""

    def __init__(self, bound, times):
        super().__init__()
        self.bound, self.times, self.below = bound, times, 0

    def on_epoch_end(self, epoch, logs=None):
        self.below = self.below + 1 if logs["val_loss"] < self.bound else 0
        if self.below >= self.times:
            self.model.stop_training = True


def gradients_through_time(model, examples, loss):
    """|dL/ds_t| for the state s_t (h, of an LSTM h and c) after each step: float (T,).

    L is the loss of one sequence; root mean square over the examples.
    """
    import tensorflow as tf
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.RNN))
    x, labels = examples.arrays()
    if x.ndim == 2:                                       # integers, of copy
        x = model.get_layer("one_hot")(x)                                              # (B, T, 10)
    present = np.any(x != 0, axis=-1)[..., None]          # no padding
    states, history, outputs = layer.get_initial_state(len(x)), [], []
    with tf.GradientTape() as tape:
        tape.watch(states)
        for t in range(x.shape[1]):
            _, after = layer.cell(x[:, t], states)
            states = [tf.where(present[:, t], new, old) for new, old in zip(after, states, strict=True)]
            history.append(states)
            outputs.append(states[0])                    # h, which is what each cell gives
        last = tf.stack(outputs, axis=1) if layer.return_sequences else states[0]
        cost = len(x) * loss(labels, model.get_layer("logits")(last))
    squares = [sum(np.sum(np.square(part.numpy(), dtype=np.float64), axis=-1) for part in step
                   if part is not None)                   # h of the last steps may be of no use any more
               for step in tape.gradient(cost, history)]
    return np.sqrt(np.mean(squares, axis=-1))


def main(config, run):
    data = memory_problems.load(config.problem, config.batch_size, steps=config.steps, seed=run.seed)
    with run.scope():
        model = compiled_model(config, data)
    loss, looked_at = LOSSES[config.problem], data.validation[:64]
    lengths = {} if run.searching else {"first": gradients_through_time(model, looked_at, loss)}
    history = run.fit(model, data.train, data.validation, updates=config.updates, keep_best="val_loss",
                      mode="min", validate_every=config.validate_every,
                      callbacks=[Solved(config.solved, config.times)])
    run.save(model, data.class_names, kind=f"sequences of the {config.problem} problem")
    if not run.searching:
        lengths["trained"] = gradients_through_time(model, looked_at, loss)
        np.savez(run.figure("gradients").with_suffix(".npz"), **lengths)
        draw(run, {config.cell: (config, history, lengths)}, data.baseline)
    best = min(history, key=lambda row: row["val_loss"])
    metrics = {"val_loss": best["val_loss"], "best_updates": best["updates"],
               "updates": history[-1]["updates"], "baseline": data.baseline}
    return {**metrics, **run.evaluate(model, data.test)}                 # once, at the very end


def draw(run, networks, baseline, name="gradients"):
    """{cell: (Config, history, gradients)} of one T: the curves, and the gradient before and after."""
    import matplotlib.pyplot as plt
    figure, (curves, *panels) = plt.subplots(1, 3, figsize=(14, 4.3), layout="constrained")
    panels[1].sharey(panels[0])
    for cell, (config, history, lengths) in networks.items():
        colour = f"C{CELLS.index(config.cell)}"
        curves.semilogy([row["updates"] for row in history], [row["val_loss"] for row in history],
                        color=colour, label=cell)
        for axes, when in zip(panels, ("first", "trained"), strict=True):
            back = np.arange(len(lengths[when]))[::-1]
            axes.semilogy(back, np.maximum(lengths[when] / lengths[when][-1], 1e-20), color=colour,
                          label=cell)
    curves.axhline(baseline, color="black", linestyle=":", label="no memory")
    curves.axhline(config.solved, color="0.6", linestyle="--", label="solved")
    curves.set(title=f"{config.problem.replace('_', ' ')}, T = {config.steps}", xlabel="updates",
               ylabel="validation loss")
    for axes, title in zip(panels, ("before training", "after training"), strict=True):
        axes.set(title=f"gradient by the state, {title}", xlabel="steps before the end")
        axes.invert_xaxis()
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("|dL/ds|, that of the last step: 1")
    curves.legend()
    panels[0].legend()
    figure.savefig(run.figure(name), dpi=120)
    plt.close(figure)


def compare(run, results):
    """All cells of one T in one picture, each T its own."""
    for steps in sorted({config.steps for config in run.configs.values()}):
        networks = {}
        for name, config in run.configs.items():
            if config.steps == steps:
                with np.load(run.folder / name / "figures" / "gradients.npz") as lengths:
                    networks[config.cell] = config, read_history(run.folder / name), dict(lengths)
        draw(run, networks, results[name]["baseline"], f"gradients_{steps}")


if __name__ == "__main__":
    launch(main, Config, named=NAMED, smoke=SMOKE, compare=compare)
