"""Two and three workers on this machine against one: the same result, and an end when one of them dies."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import multi_worker_program as program
import numpy as np
import pytest
import tensorflow as tf

from training import device, multi_worker

ROOT = Path(__file__).parents[2]


def free_ports(count):
    with contextlib.ExitStack() as sockets:
        opened = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in opened]


def tf_config(addresses, index):
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


@contextlib.contextmanager
def workers(count, folder, what):
    """Processes of multi_worker_program, all ended at the end; stderr goes to FOLDER/stderr-<index>."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    with contextlib.ExitStack() as files:
        processes = []
        try:
            for index in range(count):
                stderr = files.enter_context(open(folder / f"stderr-{index}", "w"))
                processes.append(subprocess.Popen(
                    [sys.executable, program.__file__, folder, what], stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=stderr,
                    env={**os.environ, "TF_CONFIG": tf_config(addresses, index), "PYTHONPATH": str(ROOT),
                         "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1",
                         "CUDA_VISIBLE_DEVICES": "-1"}))
            yield processes
        finally:
            for process in processes:
                process.kill()
                process.wait()


def ended(process, folder, index, seconds):
    """The status of a worker that ends within so many seconds; its last words if it does not."""
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        pytest.fail(f"worker {index} still runs: {(folder / f'stderr-{index}').read_text()[-2000:]}")


def results(count, folder):
    paths = [folder / f"result-{index}.json" for index in range(count)]
    for index, path in enumerate(paths):
        assert path.exists(), (folder / f"stderr-{index}").read_text()[-3000:]
    return [json.loads(path.read_text()) for path in paths]


def check_training(count, folder, found):
    """Against one worker on the same global batch, in this process."""
    one, history = program.trained(tf.distribute.get_strategy(), folder / "one" / "checkpoints")
    for index, result in enumerate(found):
        assert result["sums"] == [count * (count - 1) / 2, count]
        assert (result["index"], result["workers"], result["chief"]) == (index, count, index == 0)
        with np.load(folder / f"weights-{index}.npz") as weights:
            gaps = [np.abs(weights[name] - mine).max()
                    for name, mine in zip(weights.files, one.get_weights(), strict=True)]
        assert max(gaps) < 1e-5
        assert result["history"][-1]["loss"] == found[0]["history"][-1]["loss"]
        assert result["history"][-1]["loss"] == pytest.approx(history[-1]["loss"], abs=1e-5)
        assert result["history"][-1]["accuracy"] == pytest.approx(history[-1]["accuracy"], abs=1e-5)
    for epoch in range(2):
        rows = [row for result in found for row in result["rows_seen"][epoch]]
        assert sorted(rows) == list(range(program.ROWS))


def check_fit(found):
    for result in found:
        assert "PerReplica" in result["without_correction"]
        assert result["fit"] == found[0]["fit"]
        assert result["fit"]["loss"][1] < result["fit"]["loss"][0]
        assert result["evaluate"] == pytest.approx(result["direct"], abs=1e-5)
        assert result["evaluate_by_3"] == pytest.approx(result["direct"], abs=1e-5)
        assert result["prediction_gap"] < 1e-5
        assert result["moving_before"] != found[result["index"] - 1]["moving_before"]
        for before, after in zip(zip(*(one["moving_before"] for one in found), strict=True),
                                 result["moving_after"], strict=True):
            np.testing.assert_allclose(np.mean(before, axis=0), after, rtol=1e-6)


def check_lost(process, folder, index, lost, seconds):
    """The process ends by itself with the status of a lost peer, and names it. Returns the time it took."""
    started = time.monotonic()
    assert ended(process, folder, index, seconds) == multi_worker.LOST_PEER_STATUS
    sentence = (folder / f"stderr-{index}").read_text().splitlines()[-1]
    assert sentence.startswith(f"error: worker {lost} (127.0.0.1:")
    return time.monotonic() - started


def test_two_workers_are_one_and_end_together(tmp_path):
    with workers(2, tmp_path, "train,fit,1 dies") as processes:
        assert ended(processes[1], tmp_path, 1, 120) == -signal.SIGKILL
        check_lost(processes[0], tmp_path, 0, lost=1, seconds=30)
    found = results(2, tmp_path)
    check_training(2, tmp_path, found)
    check_fit(found)
    assert all(result["sigterm_is_ours"] for result in found)


@pytest.mark.slow
def test_three_workers_are_one_and_end_when_the_chief_dies(tmp_path):
    with workers(3, tmp_path, "train,fit,0 dies") as processes:
        assert ended(processes[0], tmp_path, 0, 180) == -signal.SIGKILL
        for index in (1, 2):
            check_lost(processes[index], tmp_path, index, lost=0, seconds=30)
    found = results(3, tmp_path)
    check_training(3, tmp_path, found)
    check_fit(found)


@pytest.mark.slow
@pytest.mark.parametrize("silent", [0, 1])
def test_a_silent_worker_is_given_up(tmp_path, silent):
    with workers(2, tmp_path, "nobody dies") as processes:
        deadline = time.monotonic() + 120
        while not all((tmp_path / f"training-{index}").exists() for index in range(2)):
            assert time.monotonic() < deadline and all(process.poll() is None for process in processes)
            with contextlib.suppress(subprocess.TimeoutExpired):
                processes[0].wait(timeout=0.1)
        processes[silent].send_signal(signal.SIGSTOP)
        seconds = check_lost(processes[1 - silent], tmp_path, 1 - silent, lost=silent, seconds=60)
        assert seconds > multi_worker.PEER_TIMEOUT / 2


def test_average_statistics_on_two_devices():
    strategy = device.strategy("mirrored")
    with strategy.scope():
        model = program.compiled_model(normalised=True)
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
    layer.moving_mean.value.values[0].assign(np.full(16, 1.0))
    layer.moving_mean.value.values[1].assign(np.full(16, 4.0))
    variance = [replica.numpy() for replica in layer.moving_variance.value.values]
    multi_worker.average_statistics(model, strategy)
    for replica in range(2):
        assert (layer.moving_mean.value.values[replica].numpy() == 2.5).all()
        assert (layer.moving_variance.value.values[replica].numpy() == variance[replica]).all()
    seed = next(variable for variable in model.variables if "seed" in variable.path)
    seed.value.values[1].assign_add([0, 1])
    with pytest.raises(ValueError, match=r"seed_generator_state must be equal on all workers"):
        multi_worker.average_statistics(model, strategy)


def test_members_of_a_tf_config():
    config = {"cluster": {"chief": ["a:1"], "worker": ["b:2", "[::1]:3"]},
              "task": {"type": "worker", "index": 1}}
    assert multi_worker.from_tf_config(json.dumps(config)) == (["a:1", "b:2", "[::1]:3"], 2)
    config["task"] = {"type": "chief", "index": 0}
    assert multi_worker.from_tf_config(json.dumps(config)) == (["a:1", "b:2", "[::1]:3"], 0)


@pytest.mark.parametrize("change, sentence", [
    ("{", "TF_CONFIG must be like"),
    ({"cluster": None}, "TF_CONFIG must be like"),
    ({"task": {"type": "worker", "index": 2}}, r"has 2 of the job worker.*\[0, 2\). Received: 2"),
    ({"task": {"type": "worker", "index": -1}}, "Received: -1"),
    ({"task": {"type": "ps", "index": 0}}, "of which this is ps"),
    ({"cluster": {"worker": ["a:1"], "ps": ["b:1"]}}, "may have the jobs chief and worker"),
    ({"cluster": {"worker": ["a:1", "b"]}}, "must be host:port. Received: b"),
    ({"cluster": {"worker": ["a:1", "b:99999"]}}, "must be host:port. Received: b:99999"),
    ({"cluster": {"worker": ["a:1", "a:1"]}}, "an address twice"),
])
def test_bad_tf_configs_are_refused_in_a_sentence(change, sentence):
    config = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 0}}
    text = change if isinstance(change, str) else json.dumps({**config, **change})
    with pytest.raises(ValueError, match=sentence):
        multi_worker.members({"TF_CONFIG": text})


def test_no_cluster_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="python -m training.launch --workers N"):
        multi_worker.members({})


def slurm(monkeypatch, **changes):
    variables = {"SLURM_STEP_NUM_TASKS": "3", "SLURM_STEP_NODELIST": "n[9-10]", "SLURM_JOB_ID": "7",
                 "SLURM_STEP_TASKS_PER_NODE": "2,1", "SLURM_PROCID": "2", "SLURMD_NODENAME": "n10", **changes}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    return multi_worker.members(os.environ)


def test_members_of_a_slurm_step(monkeypatch):
    assert slurm(monkeypatch) == (["n9:12007", "n9:12008", "n10:12007"], 2)
    with pytest.raises(ValueError, match="task 2 is on node n9 and not on n10: .*--distribution=block"):
        slurm(monkeypatch, SLURMD_NODENAME="n9")
    with pytest.raises(ValueError, match="Start the workers by srun"):
        slurm(monkeypatch, SLURM_STEP_TASKS_PER_NODE="many")


def meeting(addresses, monkeypatch, seconds, others=None):
    """What each of several threads gets that meet at these addresses: None, or its exception."""
    monkeypatch.setattr(multi_worker, "JOIN_TIMEOUT", seconds)
    found = {}

    def one(index, its_addresses):
        try:
            found[index] = multi_worker.meet(its_addresses, index)
        except (OSError, ValueError) as error:
            found[index] = error
    threads = [threading.Thread(target=one, args=(index, (others or {}).get(index, addresses)))
               for index in range(len(addresses))]
    for thread in reversed(threads):                         # the chief last: the others try again
        thread.start()
    for thread in threads:
        thread.join()
    return [found[index] for index in range(len(addresses))]


def test_workers_meet(monkeypatch):
    addresses = [f"127.0.0.1:{port}" for port in free_ports(3)]
    assert meeting(addresses, monkeypatch, 20) == [None] * 3
    assert meeting(addresses, monkeypatch, 20) == [None] * 3                 # the ports are free again


def test_a_worker_with_other_settings_is_told_so(monkeypatch):
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    chief, worker = meeting(addresses, monkeypatch, 1, {1: [addresses[0], f"localhost:{addresses[1][10:]}"]})
    assert isinstance(chief, multi_worker.LostPeer)
    assert f"{addresses[1]} did not come within 1 sec" in str(chief)
    assert isinstance(worker, ValueError) and "the chief has addresses" in str(worker)


def test_an_absent_chief_and_a_taken_port(monkeypatch):
    monkeypatch.setattr(multi_worker, "JOIN_TIMEOUT", 0.5)
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    with pytest.raises(multi_worker.LostPeer, match=f"the chief, {addresses[0]}, was not there within 0.5 s"):
        multi_worker.meet(addresses, 1)
    with (socket.create_server(("127.0.0.1", int(addresses[1][10:]))),
          pytest.raises(multi_worker.PortInUse, match="worker 1 cannot listen on port .*Choose another")):
        multi_worker.meet(addresses, 1)


@pytest.mark.skipif(not hasattr(socket, "SO_BINDTODEVICE"), reason="Linux's")
def test_other_interfaces_are_closed():
    def device(server):
        return server.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0")
    with socket.create_server(("", 0)) as server, socket.create_server(("", 0)) as another:
        multi_worker.close_other_interfaces(server.getsockname()[1])
        assert (device(server), device(another)) == (b"lo", b"")
        with socket.create_connection(("127.0.0.1", server.getsockname()[1])):
            server.accept()[0].close()


def test_the_correction_knows_its_keras(monkeypatch):
    monkeypatch.setattr(program.trainer, "reduce_per_replica", program.UNCORRECTED[0])
    monkeypatch.setattr(keras, "__version__", "3.99.0")
    with pytest.raises(RuntimeError, match=r"Keras 3.99.0 cannot train on several machines \(http.*20585"):
        multi_worker.apply()

    def reduce_per_replica(values, strategy, reduction):
        return values
    monkeypatch.setattr(program.trainer, "reduce_per_replica", reduce_per_replica)
    multi_worker.apply()                                     # nothing to correct
    assert program.trainer.reduce_per_replica is reduce_per_replica
