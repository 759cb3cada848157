"""Model builders: numbers in, an uncompiled keras.Model that gives logits out."""
from models.bags import bag_of_words, fasttext
from models.convnet import fast_convnet, mcdnn_column, nielsen_convnet, normalised_convnet, simard_convnet
from models.hoisted_lstm import HoistedLSTM
from models.inputs import on_images
from models.lenet import lenet1, lenet5, modern_lenet5, scaled_tanh
from models.mlp import mlp
from models.perceptron import mcculloch_pitts, threshold_perceptron
from models.recurrent import continuation, recurrent_classifier, recurrent_language_model, streaming

__all__ = ["HoistedLSTM", "bag_of_words", "continuation", "fast_convnet", "fasttext", "lenet1", "lenet5",
           "mcculloch_pitts", "mcdnn_column", "mlp", "modern_lenet5", "nielsen_convnet",
           "normalised_convnet", "on_images", "recurrent_classifier", "recurrent_language_model",
           "scaled_tanh", "simard_convnet", "streaming", "threshold_perceptron"]
