import socket

import pytest

from pipelines import mnist, tfds_source


@pytest.fixture
def unreachable(monkeypatch, tmp_path):
    """No cache, no proxy, no network: the hosts that were tried."""
    tried = []

    def refuse(address, timeout=None):
        tried.append(address[0])
        raise socket.gaierror("Name or service not known")
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return tried


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist", "emnist"])
def test_no_cache_and_no_network_is_one_sentence_and_leaves_nothing(unreachable, tmp_path, name):
    with pytest.raises(FileNotFoundError) as caught:
        mnist.load(name)
    message = str(caught.value)
    assert unreachable and f"no connection to {unreachable[0]}" in message
    assert str(tmp_path) in message and "--data digits" in message and "\n" not in message
    assert not list(tmp_path.iterdir())


def test_a_failed_download_leaves_what_was_there_before_and_nothing_else(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("kept")
    with pytest.raises(KeyboardInterrupt), tfds_source.nothing_left_behind(
            tmp_path / "old", tmp_path / "new", tmp_path / "new" / "below"):
        (tmp_path / "new" / "below").mkdir(parents=True)
        (tmp_path / "new" / "below" / "half").write_text("half")
        raise KeyboardInterrupt
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["old", "old/file"]
