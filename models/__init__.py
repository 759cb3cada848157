"""Model builders: numbers in, an uncompiled keras.Model that gives logits out."""
from models.airbench import airbench94, set_whitening
from models.convnet import fast_convnet, mcdnn_column, nielsen_convnet, normalised_convnet, simard_convnet
from models.densenet import (
    densenet121,
    densenet161,
    densenet169,
    densenet201,
    densenet264,
    densenet_cifar,
)
from models.inputs import on_images
from models.lenet import lenet1, lenet5, modern_lenet5, scaled_tanh
from models.mlp import mlp
from models.perceptron import mcculloch_pitts, threshold_perceptron
from models.resnet import (
    plain18,
    plain34,
    plain_cifar,
    resnet9,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnet_cifar,
)

__all__ = ["airbench94", "densenet121", "densenet161", "densenet169", "densenet201", "densenet264",
           "densenet_cifar", "fast_convnet", "lenet1", "lenet5", "mcculloch_pitts", "mcdnn_column", "mlp",
           "modern_lenet5", "nielsen_convnet", "normalised_convnet", "on_images", "plain18", "plain34",
           "plain_cifar", "resnet9", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
           "resnet_cifar", "scaled_tanh", "set_whitening", "simard_convnet", "threshold_perceptron"]
