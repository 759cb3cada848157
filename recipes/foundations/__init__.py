"""Lessons that everything else rests on: neurons, gradients, convolution."""
