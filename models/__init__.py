"""Model builders: numbers in, an uncompiled keras.Model that gives logits out."""
from models.convnet import fast_convnet, nielsen_convnet
from models.mlp import mlp
from models.perceptron import mcculloch_pitts, threshold_perceptron

__all__ = ["fast_convnet", "mcculloch_pitts", "mlp", "nielsen_convnet", "threshold_perceptron"]
