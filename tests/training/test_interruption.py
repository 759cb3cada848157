"""Ctrl-C and SIGTERM in the middle of a training, by signals to processes and to this one."""
import os
import signal
import subprocess
import sys
import threading
import time

import keras
import pytest

from models import nielsen_convnet
from pipelines import digits
from training import Run
from training.interruption import StopRequest, Terminated
from training.results import ROOT


def network():
    model = nielsen_convnet((12, 12, 1), filters=(3,), hidden=(12,), dropout=0.5)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


class SignalAt(keras.callbacks.Callback):
    """Sends this process a signal at the end of an epoch's training, or in its validation."""

    def __init__(self, number, epoch, in_validation):
        super().__init__()
        self.number, self.epoch, self.in_validation, self.now = number, epoch, in_validation, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if not self.in_validation and self.now == self.epoch and batch >= 7:
            os.kill(os.getpid(), self.number)
            self.epoch = None

    def on_test_begin(self, logs=None):
        if self.in_validation and self.now == self.epoch:
            os.kill(os.getpid(), self.number)
            self.epoch = None


def trained(folder, *callbacks):
    data = digits.load(20, seed=4, size=12)
    run = Run(folder, seed=7, strategy="none", resume=(folder / "config.json").exists())
    with run.scope():
        model = network()
    history = run.fit(model, data.train, data.validation, updates=60, validate_every=20,
                      keep_best="val_accuracy", steps_per_execution=3, callbacks=callbacks, verbose=0)
    return model.get_weights(), history


@pytest.mark.parametrize(("number", "error", "in_validation"), [
    (signal.SIGINT, KeyboardInterrupt, False), (signal.SIGTERM, Terminated, True)])
def test_a_signal_saves_and_the_resumed_run_is_the_undisturbed_one(tmp_path, capfd, number, error,
                                                                   in_validation):
    weights, history = trained(tmp_path / "whole")
    update = "40" if in_validation else r"3\d"
    with pytest.raises(error, match=f"saved at update {update} of 60"):
        trained(tmp_path / "cut", SignalAt(number, 1, in_validation))
    assert "stopping: this update is finished" in capfd.readouterr().err
    again, resumed = trained(tmp_path / "cut", keras.callbacks.Callback())
    assert resumed == history
    assert all((a == b).all() for a, b in zip(weights, again, strict=True))


def test_handlers_are_put_back_and_other_signals_pass(capfd):
    before, seen = signal.getsignal(signal.SIGINT), []
    other = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert seen == [1] and stop.asked is None
    finally:
        signal.signal(signal.SIGUSR1, other)
    assert signal.getsignal(signal.SIGINT) is before and capfd.readouterr().err == ""


def test_outside_the_main_thread_signals_are_left_alone():
    before, active = signal.getsignal(signal.SIGINT), []

    def enter():
        with StopRequest() as stop:
            active.append(stop.active)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert active == [False] and signal.getsignal(signal.SIGINT) is before


PROGRAM = """
import time
from training.interruption import StopRequest
with StopRequest() as stop:
    print("ready", flush=True)
    while stop.asked is None:
        time.sleep(0.01)
    print("asked", flush=True)
    time.sleep(3600)                # one long call that no Python handler interrupts
"""


def test_the_second_signal_ends_at_once():
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        assert process.wait(30) == 128 + signal.SIGINT and time.monotonic() - started < 10
        assert "again stops at once" in process.stderr.read()
    finally:
        process.kill()
        process.communicate()
