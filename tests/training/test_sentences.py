"""What the command line makes of an error."""
import pytest
import tensorflow as tf

from training.command_line import sentence


@pytest.mark.parametrize("error, told", [
    (ValueError("Bad.\n\nReceived: 3"), "Bad."), (KeyError("name"), "KeyError: 'name'"),
    (ValueError(), "ValueError"),
    (FileNotFoundError(2, "No such file", "digits.npz"), "digits.npz: No such file")])
def test_an_error_is_its_first_lines(error, told):
    assert sentence(error) == told


@pytest.mark.parametrize("raised", [ValueError, RuntimeError])
def test_an_error_within_a_graph_is_what_was_raised_there(raised):
    def broken(x):
        if x > 0:
            raise raised("The rate is too high.\nReceived: 3\n\nMore of it.")
        return x

    with pytest.raises(raised, match="in user code") as caught:
        tf.function(lambda: tf.zeros(()) + broken(1))()
    kind = "" if raised is ValueError else "RuntimeError: "
    assert sentence(caught.value) == f"{kind}The rate is too high.\nReceived: 3"
