"""Model builders: numbers in, an uncompiled keras.Model that gives logits out."""
from models.alexnet import alexnet, alexnet_owt
from models.convnet import fast_convnet, mcdnn_column, nielsen_convnet, normalised_convnet, simard_convnet
from models.googlenet import googlenet
from models.inputs import on_images
from models.lenet import lenet1, lenet5, modern_lenet5, scaled_tanh
from models.mlp import mlp
from models.perceptron import mcculloch_pitts, threshold_perceptron
from models.vgg import vgg, vgg11, vgg13, vgg16, vgg19

__all__ = ["alexnet", "alexnet_owt", "fast_convnet", "googlenet", "lenet1", "lenet5", "mcculloch_pitts",
           "mcdnn_column", "mlp", "modern_lenet5", "nielsen_convnet", "normalised_convnet", "on_images",
           "scaled_tanh", "simard_convnet", "threshold_perceptron", "vgg", "vgg11", "vgg13", "vgg16", "vgg19"]
