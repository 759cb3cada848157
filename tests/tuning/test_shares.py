"""Cores and GPUs are shared out among workers; the GPUs are names only, no machine with GPUs is needed."""
import pytest

from tuning import shares
from tuning.shares import threads


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """machine(cores, gpus): what this machine then looks like."""
    def make(cores, gpus=0):
        for name in (*shares.THREADS, "CUDA_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(shares, "cores", lambda: cores)
        monkeypatch.setattr(shares, "NVIDIA", tmp_path)
        for number in range(gpus):
            (tmp_path / f"0000:{number}:00.0").mkdir()
    return make


def test_one_worker_has_the_whole_machine(machine):
    machine(16, gpus=4)
    assert shares.shares(1) == [{}] and shares.shares(0) == []


@pytest.mark.parametrize(("cores", "workers", "each"), [(2, 2, 1), (16, 4, 4), (16, 3, 5), (2, 5, 1)])
def test_cores_are_shared_out(machine, cores, workers, each):
    machine(cores)
    assert shares.shares(workers) == [threads(each)] * workers
    assert set(threads(each).values()) == {str(each)}


def test_what_is_set_already_stays(machine, monkeypatch):
    machine(16)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    assert shares.shares(2) == [{"TF_NUM_INTEROP_THREADS": "8", "OMP_NUM_THREADS": "8"}] * 2


@pytest.mark.parametrize(("gpus", "workers", "each", "grows"), [
    (4, 4, ["0", "1", "2", "3"], False), (4, 2, ["0,2", "1,3"], False), (3, 2, ["0,2", "1"], False),
    (2, 3, ["0", "1", "0"], True), (1, 2, ["0", "0"], True)])
def test_gpus_are_shared_out(machine, gpus, workers, each, grows):
    machine(16, gpus)
    found = shares.shares(workers)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found] == each
    assert {one.get("TF_FORCE_GPU_ALLOW_GROWTH") for one in found} == {"true" if grows else None}


@pytest.mark.parametrize(("named", "each"), [("3, 5", ["3", "5"]), ("GPU-8932,MIG-4", ["GPU-8932", "MIG-4"]),
                                             ("", None), ("-1", None)])
def test_the_gpus_that_the_variable_names_are_shared_out(machine, monkeypatch, named, each):
    machine(2, gpus=8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    found = [one.get("CUDA_VISIBLE_DEVICES") for one in shares.shares(2)]
    assert found == (each or [None, None])
