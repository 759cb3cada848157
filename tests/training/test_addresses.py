"""addresses: hosts and ports of workers, and which of them only this machine reaches."""
import pytest

from training.addresses import all_loopback, host_of, is_loopback, port_of


@pytest.mark.parametrize("address, host, port", [
    ("127.0.0.1:2222", "127.0.0.1", 2222), ("node-7.cluster:80", "node-7.cluster", 80),
    ("[fe80::1]:12345", "fe80::1", 12345)])
def test_host_and_port(address, host, port):
    assert (host_of(address), port_of(address)) == (host, port)


@pytest.mark.parametrize("host, expected", [
    ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
    ("10.0.0.1", False), ("fe80::1", False), ("localhost.example.org", False), ("127", False)])
def test_loopback(host, expected):
    assert is_loopback(host) is expected


def test_one_worker_elsewhere_is_enough():
    assert all_loopback(["127.0.0.1:1", "[::1]:2"]) and not all_loopback(["127.0.0.1:1", "10.0.0.1:2"])
