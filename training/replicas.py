"""What Keras's optimizers do wrong on several devices: done right here, or refused."""
import keras
import tensorflow as tf


def prepare(optimizer, strategy):
    """Makes an optimizer give on several replicas what it gives on one; call it before training.

    Raises ValueError for gradient accumulation and for an average of the weights that
    overwrites them: Keras 3 fails at both on several replicas (keras#20582).
    """
    if strategy.num_replicas_in_sync == 1:
        return
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if inner.gradient_accumulation_steps:
        raise ValueError("gradient accumulation does not work on several devices. Received: "
                         f"gradient_accumulation_steps={inner.gradient_accumulation_steps}. Raise the batch "
                         "size, or take --strategy none.")
    if inner.use_ema and inner.ema_overwrite_frequency:
        raise ValueError("an average of the weights that overwrites them does not work on several devices. "
                         f"Received: ema_overwrite_frequency={inner.ema_overwrite_frequency}. Leave it out "
                         "(the average then replaces the weights at the end), or take --strategy none.")
    if inner is not optimizer or inner.clipnorm or inner.global_clipnorm or inner.clipvalue:
        sum_first(optimizer)


def sum_first(optimizer):
    """Sums the gradients over the replicas before they are clipped or checked for overflow.

    Keras 3.15 sums them after that: every replica clips its own part of the gradient, which
    gives another update (tensorflow#33929), and a loss scale would look at the first
    replica's overflow alone.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if hasattr(optimizer, "summed_first"):
        return
    apply, all_reduce = optimizer.apply, inner._all_reduce_sum_gradients

    def summed_apply(grads, trainable_variables=None):
        variables = trainable_variables or optimizer._trainable_variables
        pairs = all_reduce(list(zip(grads, variables, strict=True)))
        return apply([gradient for gradient, _ in pairs], trainable_variables)
    optimizer.apply = summed_apply
    inner._all_reduce_sum_gradients = lambda pairs: pairs
    optimizer.summed_first = True


def synchronize(model, strategy):
    """Lets every BatchNormalization take its mean and variance over the batches of all replicas."""
    if strategy.num_replicas_in_sync > 1:
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True


def shard(strategy):
    """(this replica's number, number of replicas), inside strategy.run."""
    return tf.distribute.get_replica_context().replica_id_in_sync_group, strategy.num_replicas_in_sync
