"""Muon, for the kernels of convolutions: steps that are as long in every direction."""
import math

import keras
from keras import ops

NEWTON_SCHULZ = 3.4445, -4.7750, 2.0315        # coefficients of the quintic iteration


@keras.saving.register_keras_serializable("recipes")
class Muon(keras.optimizers.SGD):
    """Steps of equal length in all directions for the kernels of convolutions; Keras's SGD for all else.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
    A kernel (h, w, in, out) is taken as the matrix W (h w in, out), G is its gradient:
        V = m V + (1 - m) G;   U = orthogonal((1 - m) G + m V);   W = |W| - relative_rate rate |U|
    where m is kernel_momentum and |.| scales to a norm of sqrt(out). The length of a kernel does nothing
    before batch normalisation but to weaken the steps, so it is kept, and needs no decay.
    rate: the learning rate.  relative_rate: what it is multiplied by for kernels.
    """

    def __init__(self, learning_rate, momentum=0.9, nesterov=True, *, relative_rate=0.15,
                 kernel_momentum=0.95, name="muon", **options):
        super().__init__(learning_rate, momentum, nesterov, name=name, **options)
        self.relative_rate, self.kernel_momentum = relative_rate, kernel_momentum

    def update_step(self, gradient, variable, learning_rate):
        if len(variable.shape) != 4:
            super().update_step(gradient, variable, learning_rate)
            return
        kept, velocity = self.kernel_momentum, self.momentums[self._get_variable_index(variable)]
        self.assign(velocity, kept * velocity + (1 - kept) * gradient)
        step = orthogonal((1 - kept) * gradient + kept * velocity)
        length = math.sqrt(variable.shape[-1])
        self.assign(variable, scaled(variable, length)
                    - self.relative_rate * learning_rate * scaled(step, length))

    def get_config(self):
        return {**super().get_config(), "relative_rate": self.relative_rate,
                "kernel_momentum": self.kernel_momentum}


def orthogonal(kernel, iterations=5):
    """U V' of a kernel (..., out), as the matrix U S V' (N, out), about: the same shape.

    Five iterations leave singular values between .7 and 1.2; fewer leave the small ones small.
    """
    a, b, c = NEWTON_SCHULZ
    matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
    tall = matrix.shape[0] > matrix.shape[1]
    matrix = scaled(ops.transpose(matrix) if tall else matrix, 1.0)
    for _ in range(iterations):
        square = ops.matmul(matrix, ops.transpose(matrix))
        matrix = a * matrix + ops.matmul(b * square + c * ops.matmul(square, square), matrix)
    return ops.reshape(ops.transpose(matrix) if tall else matrix, kernel.shape)


def scaled(tensor, length):
    """The tensor with that Frobenius norm."""
    return tensor * (length / (ops.sqrt(ops.sum(ops.square(tensor))) + 1e-12))
