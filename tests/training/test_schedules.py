import numpy as np
import pytest

from training.schedules import one_cycle


def test_a_cycle_rises_along_a_line_and_falls_along_a_cosine():
    rate = one_cycle(0.5, 100, 20)
    values = [float(rate(update)) for update in range(101)]
    np.testing.assert_allclose(values[:21], np.linspace(0.02, 0.5, 21), rtol=1e-5)
    np.testing.assert_allclose(values[20:], 0.25 * (1 + np.cos(np.linspace(0, np.pi, 81))), atol=1e-6)


def test_without_a_rise_it_begins_at_the_top():
    rate = one_cycle(0.5, 100, 0)
    assert float(rate(0)) == 0.5 and float(rate(50)) == pytest.approx(0.25)


@pytest.mark.parametrize("rise", [-1, 100])
def test_a_rise_that_leaves_nothing(rise):
    with pytest.raises(ValueError, match=f"Received: {rise} of 100 updates"):
        one_cycle(0.5, 100, rise)
