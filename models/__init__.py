"""Model builders: numbers in, an uncompiled keras.Model that gives logits out."""
from models.convnet import fast_convnet, mcdnn_column, nielsen_convnet, normalised_convnet, simard_convnet
from models.inputs import on_images
from models.lenet import lenet1, lenet5, modern_lenet5, scaled_tanh
from models.mlp import mlp
from models.one_shot import prototypical, siamese
from models.perceptron import mcculloch_pitts, threshold_perceptron

__all__ = ["fast_convnet", "lenet1", "lenet5", "mcculloch_pitts", "mcdnn_column", "mlp", "modern_lenet5",
           "nielsen_convnet", "normalised_convnet", "on_images", "prototypical", "scaled_tanh", "siamese",
           "simard_convnet", "threshold_perceptron"]
