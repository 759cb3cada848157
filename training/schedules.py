"""Schedules of the learning rate that several recipes share."""
import keras


def one_cycle(top, updates, rise):
    """A rate that rises along a line from a 25th of its top, then falls along half a cosine to 0.

    Source: Smith and Topin 2018, arXiv:1708.07120; the cosine is fastai's.
    updates: of the whole training.  rise: those in which it rises; 0 begins at the top.
    Raises ValueError unless 0 <= rise < updates.
    """
    if not 0 <= rise < updates:
        raise ValueError("warm_up must leave updates in which the rate falls. "
                         f"Received: {rise} of {updates} updates")
    if not rise:                 # Keras divides by the number of updates of the warm-up, even where it is 0
        return keras.optimizers.schedules.CosineDecay(top, updates)
    return keras.optimizers.schedules.CosineDecay(top / 25, updates - rise, warmup_target=top,
                                                  warmup_steps=rise)
