"""Model builders: numbers in, an uncompiled keras.Model that gives logits out."""
from models.convnet import fast_convnet, nielsen_convnet
from models.mlp import mlp

__all__ = ["fast_convnet", "mlp", "nielsen_convnet"]
