"""Model builders: numbers in, an uncompiled keras.Model that gives logits out."""
from models.convnet import nielsen_convnet
from models.mlp import mlp

__all__ = ["mlp", "nielsen_convnet"]
