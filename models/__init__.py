"""Model builders: numbers in, an uncompiled keras.Model that gives logits out."""
from models.convnet import fast_convnet, mcdnn_column, nielsen_convnet, normalised_convnet, simard_convnet
from models.ctc import beam_search, blstm_ctc, greedy
from models.inputs import on_images
from models.lenet import lenet1, lenet5, modern_lenet5, scaled_tanh
from models.mlp import mlp
from models.multidimensional_lstm import columns_blstm, multidimensional_lstm
from models.perceptron import mcculloch_pitts, threshold_perceptron
from models.speech import commands_convnet, word_convnet

__all__ = ["beam_search", "blstm_ctc", "columns_blstm", "commands_convnet", "fast_convnet", "greedy",
           "lenet1", "lenet5", "mcculloch_pitts", "mcdnn_column", "mlp", "modern_lenet5",
           "multidimensional_lstm", "nielsen_convnet", "normalised_convnet", "on_images", "scaled_tanh",
           "simard_convnet", "threshold_perceptron", "word_convnet"]
