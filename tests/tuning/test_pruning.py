import pytest

from tuning.pruning import hopeless

OTHERS = [[.5, .7, .8], [.4, .6, .9], [.6, .65, .7], [.2, .3, .95], [.1]]


def test_a_recorded_curve_is_judged_as_the_rule_says():
    # Of the five others four came to the second epoch; their best up to it: .7, .6, .65, .3; median .625.
    assert hopeless([.1, .62], OTHERS, "max")
    assert not hopeless([.1, .63], OTHERS, "max")
    # Up to the third: .8, .9, .7, .95; median .85. The best so far counts, not the last.
    assert hopeless([.1, .63, .84], OTHERS, "max")
    assert not hopeless([.1, .86, .2], OTHERS, "max")
    assert not hopeless([.1, .625], OTHERS, "max")                   # the median itself is good enough


def test_the_warm_up_and_the_number_of_others():
    assert not hopeless([.01], OTHERS, "max")
    assert hopeless([.01], OTHERS, "max", warm_up=1)
    assert not hopeless([.01, .01], OTHERS[:3], "max")
    assert hopeless([.01, .01], OTHERS[:3], "max", least=3)
    assert not hopeless([.01] * 4, OTHERS, "max")                    # none came so far


@pytest.mark.parametrize("curve, ended", [([.9, .4], True), ([.9, .37], False)])
def test_a_loss_is_better_when_small(curve, ended):
    assert hopeless(curve, [[1 - value for value in other] for other in OTHERS], "min") is ended
