"""Model builders: numbers in, an uncompiled keras.Model that gives logits out."""
import sys

# `python -m models` prints stored numbers, without TensorFlow and so without the builders. While Python looks
# for what -m names, that is its first argument.
if not (sys.argv[:1] == ["-m"] and ("-m", "models") in zip(sys.orig_argv, sys.orig_argv[1:])):  # noqa: B905
    from models.airbench import airbench94, set_whitening
    from models.alexnet import alexnet, alexnet_owt
    from models.bags import bag_of_words, fasttext
    from models.captioning import Captioner, show_and_tell
    from models.catalog import catalog
    from models.complexity import complexity
    from models.convnet import (
        fast_convnet,
        mcdnn_column,
        nielsen_convnet,
        normalised_convnet,
        simard_convnet,
    )
    from models.ctc import beam_search, blstm_ctc, greedy
    from models.densenet import (
        densenet121,
        densenet161,
        densenet169,
        densenet201,
        densenet264,
        densenet_cifar,
    )
    from models.features import features
    from models.googlenet import googlenet
    from models.hoisted_lstm import HoistedLSTM
    from models.inputs import on_images
    from models.lenet import lenet1, lenet5, modern_lenet5, scaled_tanh
    from models.mlp import mlp
    from models.multidimensional_lstm import columns_blstm, multidimensional_lstm
    from models.one_shot import prototypical, siamese
    from models.perceptron import mcculloch_pitts, threshold_perceptron
    from models.recurrent import continuation, recurrent_classifier, recurrent_language_model, streaming
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
    from models.speech import commands_convnet, word_convnet
    from models.vgg import vgg, vgg11, vgg13, vgg16, vgg19
    from models.weights import decode_predictions, preprocess, weighted

__all__ = ["Captioner", "HoistedLSTM", "airbench94", "alexnet", "alexnet_owt", "bag_of_words", "beam_search",
           "blstm_ctc", "catalog", "columns_blstm", "commands_convnet", "complexity", "continuation",
           "decode_predictions", "densenet121", "densenet161", "densenet169", "densenet201", "densenet264",
           "densenet_cifar", "fast_convnet", "fasttext", "features", "googlenet", "greedy", "lenet1",
           "lenet5", "mcculloch_pitts", "mcdnn_column", "mlp", "modern_lenet5", "multidimensional_lstm",
           "nielsen_convnet", "normalised_convnet", "on_images", "plain18", "plain34", "plain_cifar",
           "preprocess", "prototypical", "recurrent_classifier", "recurrent_language_model", "resnet101",
           "resnet152", "resnet18", "resnet34", "resnet50", "resnet9", "resnet_cifar", "scaled_tanh",
           "set_whitening", "show_and_tell", "siamese", "simard_convnet", "streaming", "threshold_perceptron",
           "vgg", "vgg11", "vgg13", "vgg16", "vgg19", "weighted", "word_convnet"]
