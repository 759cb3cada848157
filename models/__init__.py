"""Model builders: numbers in, an uncompiled keras.Model that gives logits out.

A builder's module, and with it Keras, is imported when it is first asked for (PEP 562): `python -m models`
prints stored numbers, and needs neither.
"""
import importlib
import sys
import types

BUILDERS = {
    "airbench": ("airbench94", "set_whitening"),
    "alexnet": ("alexnet", "alexnet_owt"),
    "bags": ("bag_of_words", "fasttext"),
    "captioning": ("Captioner", "show_and_tell", "word_detector"),
    "catalog": ("catalog",),
    "chrono": ("ChronoBias",),
    "complexity": ("complexity",),
    "convnet": ("fast_convnet", "mcdnn_column", "nielsen_convnet", "normalised_convnet", "simard_convnet"),
    "ctc": ("beam_search", "blstm_ctc", "greedy"),
    "densenet": ("densenet121", "densenet161", "densenet169", "densenet201", "densenet264", "densenet_cifar"),
    "features": ("features",),
    "googlenet": ("googlenet",),
    "hoisted_lstm": ("HoistedLSTM",),
    "image_sequence": ("ImageSequence",),
    "inputs": ("on_images",),
    "lenet": ("lenet1", "lenet5", "modern_lenet5", "scaled_tanh"),
    "mlp": ("mlp",),
    "multidimensional_lstm": ("columns_blstm", "multidimensional_lstm"),
    "one_shot": ("prototypical", "siamese"),
    "perceptron": ("mcculloch_pitts", "threshold_perceptron"),
    "recurrent": ("continuation", "recurrent_classifier", "recurrent_language_model", "streaming"),
    "resnet": ("plain18", "plain34", "plain_cifar", "resnet9", "resnet18", "resnet34", "resnet50",
               "resnet101", "resnet152", "resnet_cifar"),
    "speech": ("commands_convnet", "word_convnet"),
    "vgg": ("vgg", "vgg11", "vgg13", "vgg16", "vgg19"),
    "weights": ("decode_predictions", "preprocess", "weighted"),
}
MODULE_OF = {name: module for module, names in BUILDERS.items() for name in names}
__all__ = sorted(MODULE_OF)


class Builders(types.ModuleType):
    """This module, whose builders are attributes that are there once they are asked for."""

    def __getattr__(self, name):
        if name not in MODULE_OF:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        builder = getattr(importlib.import_module(f"{self.__name__}.{MODULE_OF[name]}"), name)
        setattr(self, name, builder)
        return builder

    def __setattr__(self, name, value):
        # An import of models.alexnet puts that module here under its name, which is a builder's too.
        if isinstance(value, types.ModuleType) and name in MODULE_OF:
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __dir__(self):
        return sorted({*super().__dir__(), *__all__})


def import_all():
    """Imports every module, so that the layers of all networks are registered for loading."""
    for module in BUILDERS:
        importlib.import_module(f"{__name__}.{module}")


sys.modules[__name__].__class__ = Builders
