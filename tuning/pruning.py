"""When a trial is ended early."""
import statistics

WARM_UP = 2                    # values of a trial before it is judged
OTHERS = 4                     # trials that must have come as far


def hopeless(curve, others, direction, *, warm_up=WARM_UP, least=OTHERS):
    """The median rule: whether a trial's best value so far is worse than the median of the others' best.

    curve    the trial's objective after each epoch, up to now.
    others   curves of the trials that have ended; each is looked at up to the same epoch,
             and those that ended before it do not count.
    At least warm_up values and so many other trials are needed.

    The rule is that of Golovin et al. 2017, Google Vizier, section 3.2.2, but for the
    others' best values in place of their running means.
    """
    best = max if direction == "max" else min
    reached = [best(other[:len(curve)]) for other in others if len(other) >= len(curve)]
    if len(curve) < warm_up or len(reached) < least:
        return False
    median, mine = statistics.median(reached), best(curve)
    return mine < median if direction == "max" else mine > median
