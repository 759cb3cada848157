"""python -m training.launch with small scripts as workers: who runs, who is told what, who ends when."""
import contextlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Every worker writes what it was given to FOLDER/<index>-<time>, then does what the test says; INDEX, START
# (the number of its start) and FOLDER are there for it. A worker keeps the pipe of the test open as it lives.
WORKER = """
import json, os, signal, sys, time
from pathlib import Path
FOLDER = Path(sys.argv[1])
CONFIG = json.loads(os.environ["TF_CONFIG"])
INDEX = CONFIG["task"]["index"]
START = len(list(FOLDER.glob(f"{INDEX}-*")))
(FOLDER / f"{INDEX}-{START}").write_text(json.dumps(
    {"config": CONFIG, "arguments": sys.argv[2:], "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
     "interface": os.environ.get("NCCL_SOCKET_IFNAME"), "pid": os.getpid()}))
deadline = time.monotonic() + 30
while not (FOLDER / f"0-{START}").exists() and time.monotonic() < deadline:    # the chief first
    time.sleep(0.01)
def forever():
    os.write(2, f"ready {INDEX}\\n".encode())                   # in one piece
    while True:
        signal.pause()
"""


@contextlib.contextmanager
def launched(folder, then, *options, arguments=(), workers=2):
    """The launcher's process; its workers run WORKER and then the given lines. Ended at the end."""
    (folder / "worker.py").write_text(WORKER + then)
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("TF_CONFIG", "NCCL_SOCKET_IFNAME")}
    process = subprocess.Popen(
        [sys.executable, "-m", "training.launch", "--workers", str(workers), "--grace", "1", *options, "--",
         sys.executable, folder / "worker.py", folder, *arguments],
        cwd=ROOT, env={**environment, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()                                  # it ends its workers
        with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
            process.communicate(timeout=40)
        process.kill()
        process.wait()


def outcome(process):
    """(status, stdout, stderr) of a launcher that ends by itself."""
    stdout, stderr = process.communicate(timeout=30)
    return process.returncode, stdout, stderr


def started(folder, index):
    """What each start of that worker was given."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"{index}-*"))]


def read_until(process, lines):
    """Reads the launcher's stderr until all these lines have come."""
    seen = ""
    while not set(lines) <= set(seen.splitlines()):
        assert select.select([process.stderr], [], [], 30)[0], f"{lines} did not come: {seen}"
        part = os.read(process.stderr.fileno(), 4096).decode()
        assert part, f"the launcher ended: {seen}"
        seen += part


def test_each_worker_has_its_place_and_the_chief_is_read(tmp_path):
    with launched(tmp_path, 'print("out", INDEX); print("err", INDEX, file=sys.stderr)', "--gpus", workers=3,
                  arguments=["--epochs", "3"]) as process:
        status, stdout, stderr = outcome(process)
    assert (status, stdout) == (0, "out 0\n")
    assert sorted(stderr.splitlines()) == ["[1] err 1", "[2] err 2", "err 0"]
    for index in range(3):
        [given] = started(tmp_path, index)
        assert given["config"]["task"] == {"type": "worker", "index": index}
        addresses = given["config"]["cluster"]["worker"]
        assert addresses == started(tmp_path, 0)[0]["config"]["cluster"]["worker"]
        assert len(set(addresses)) == 3 and all(address.startswith("127.0.0.1:") for address in addresses)
        assert (given["gpu"], given["interface"]) == (str(index), "lo")
        assert given["arguments"] == ["--epochs", "3"]


def test_a_dead_worker_starts_all_again_to_resume(tmp_path):
    then = """
(FOLDER / "config.json").touch()
if INDEX == 1 and START < 2:
    os.kill(os.getpid(), signal.SIGKILL)
if START < 2:
    forever()
"""
    with launched(tmp_path, then, arguments=["--run-dir", tmp_path]) as process:
        status, _, stderr = outcome(process)
    assert status == 0
    assert "launch: worker 1 was ended by SIGKILL; all workers start again (2 of at most 3)\n" in stderr
    for index in range(2):
        added = [given["arguments"][2:] for given in started(tmp_path, index)]
        assert added == [[], ["--resume"], ["--resume"]]
    ports = [given["config"]["cluster"]["worker"] for given in started(tmp_path, 0)]
    assert ports[0] != ports[1]


def test_restarts_are_bounded_and_resume_needs_a_run_folder(tmp_path):
    then = "sys.exit(75 if INDEX == 0 else 7)"
    with launched(tmp_path, then, "--restarts", "1", arguments=["--run-dir", tmp_path / "run"]) as process:
        status, _, stderr = outcome(process)
    assert status in (7, 75) and "after 1 restarts. Go on with" in stderr
    assert [given["arguments"][2:] for given in started(tmp_path, 0)] == [[], []]


@pytest.mark.parametrize("status", [2, 3, 130, 143])
def test_errors_of_the_user_and_stops_are_final(tmp_path, status):
    with launched(tmp_path, f"forever() if INDEX else sys.exit({status})") as process:
        assert outcome(process)[0] == status
    assert len(started(tmp_path, 0)) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_all_and_those_who_ignore_it_are_killed(tmp_path, number):
    then = f"""
def told(number, frame):
    (FOLDER / f"told{{INDEX}}").write_text(str(int(number)))
    if INDEX == 0:
        sys.exit(128 + number)
signal.signal({int(number)}, told)
forever()
"""
    with launched(tmp_path, then) as process:
        read_until(process, ["ready 0", "[1] ready 1"])
        process.send_signal(number)
        assert outcome(process)[0] == 128 + number
    assert [(tmp_path / f"told{index}").read_text() for index in range(2)] == [str(int(number))] * 2
    for index in range(2):
        with pytest.raises(ProcessLookupError):
            os.kill(started(tmp_path, index)[0]["pid"], 0)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_workers_end_with_a_launcher_that_is_killed(tmp_path):
    with launched(tmp_path, "forever()") as process:
        read_until(process, ["ready 0", "[1] ready 1"])
        ends = [os.pidfd_open(started(tmp_path, index)[0]["pid"]) for index in range(2)]
        try:
            process.kill()
            for end in ends:
                assert select.select([end], [], [], 30)[0], "a worker lives on"
        finally:
            for end in ends:
                os.close(end)


@pytest.mark.parametrize("arguments, sentence", [
    (["--workers", "2"], "name the command of the workers after --"),
    (["--workers", "0", "--", "x"], "--workers must be at least 1. Received: 0"),
    (["--workers", "two", "--", "x"], "invalid int value: 'two'"),
    (["--workers", "1", "--", "/no/such/program"], "cannot be started: /no/such/program: No such file"),
])
def test_bad_command_lines_are_refused_in_a_sentence(arguments, sentence):
    result = subprocess.run([sys.executable, "-m", "training.launch", *arguments], cwd=ROOT, timeout=30,
                            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert result.returncode == 2 and sentence in result.stderr and "Traceback" not in result.stderr


def test_a_recipe_is_given_a_folder_and_the_strategy():
    # Run, not imported: the package has a function of this name.
    prepared = runpy.run_path(str(ROOT / "training" / "launch.py"))["prepared"]
    command, folder = prepared(["python", "-m", "recipes", "run", "mlp_mnist", "--smoke"])
    assert folder.parts[0] == "runs" and folder.name.startswith("mlp_mnist-")
    assert command[5:] == ["--smoke", "--run-dir", str(folder), "--strategy", "multi_worker"]
    named = ["python", "-m", "recipes", "run", "mlp_mnist", "--run-dir=a", "--strategy=none"]
    assert prepared(named) == (named, Path("a"))
    assert prepared(["python", "mine.py"]) == (["python", "mine.py"], None)


def test_the_launcher_does_without_tensorflow():
    code = "import runpy, sys; runpy.run_path('training/launch.py'); sys.exit('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=30,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0
