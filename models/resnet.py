"""Residual networks, and the plain ones that they were compared with."""
import sys

import keras
from keras import layers, ops

from models.classifier import image_input
from models.normalised import (
    KERAS,
    TORCH,
    averaged_classifier,
    check_depth,
    convolution,
    imagenet_stem,
    rectified,
    scaled_classifier,
)
from models.weights import weighted

# Keras follows a graph by recursion, two calls for each block and six without shortcuts: for 1202 layers,
# built or loaded, that is more than Python's 1,000.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 10_000))

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
VERSIONS = {"v1": "", "v1.5": "_v1_5", "v2": "_v2"}                 # and what the name of a model has of it


def resnet18(input_shape=(224, 224, 3), num_classes=1000, *, version="v1", include_top=True,
             classifier_activation=None, weights=None):
    """The residual network of 18 layers, in blocks of two 3x3 convolutions; see resnet50.

    Parameters: 11,699,112, of which 11,689,512 trainable, as torchvision's; 1,814,073,344
    multiply-adds at 224x224. v2: 11,698,408 and 11,690,600; 1,293,848,576.
    version: "v1" and "v1.5" are the same network, for want of a 1x1 convolution to move the
    stride from. "v2" has the order of resnet50's v2.
    """
    return imagenet_resnet(18, input_shape, num_classes, version, include_top, classifier_activation, weights)


def resnet34(input_shape=(224, 224, 3), num_classes=1000, *, version="v1", include_top=True,
             classifier_activation=None, weights=None):
    """The residual network of 34 layers, in blocks of two 3x3 convolutions; see resnet18.

    Parameters: 21,814,696, of which 21,797,672 trainable, as torchvision's; 3,663,761,408
    multiply-adds at 224x224. v2: 21,815,848 and 21,800,616; 3,143,536,640.
    """
    return imagenet_resnet(34, input_shape, num_classes, version, include_top, classifier_activation, weights)


def resnet50(input_shape=(224, 224, 3), num_classes=1000, *, version="v1", include_top=True,
             classifier_activation=None, weights=None):
    """The residual network of 50 layers, in bottlenecks of 1x1, 3x3 and 1x1 convolutions.

    Source: He et al. 2016, arXiv:1512.03385, Table 1; v2: He et al. 2016, arXiv:1603.05027.
    Shapes: float (B, H, W, C), 32x32 or larger or None, standardised -> (B, num_classes) logits;
    without its top (B, H / 32, W / 32, 2048). stage1 to stage4 name the layers that end the stages.
    Parameters (total, trainable) and multiply-adds at 224x224:
        v1    25,636,712  25,583,592  3,857,973,248   the stride in a block's first convolution,
                                                      biases in all; weights of keras.applications
        v1.5  25,610,152  25,557,032  4,089,184,256   the stride in its 3x3, no biases; of torchvision
        v2    25,613,800  25,568,360  3,482,255,360   normalisation and relu before each convolution,
                                                      the stride in a stage's last block; of
                                                      keras.applications
    weights: "imagenet" for v1 and v2, or a file; see models.weighted.
    Raises ValueError for another version, a shape that is not three numbers, or too small an image.
    """
    return imagenet_resnet(50, input_shape, num_classes, version, include_top, classifier_activation, weights)


def resnet101(input_shape=(224, 224, 3), num_classes=1000, *, version="v1", include_top=True,
              classifier_activation=None, weights=None):
    """The residual network of 101 layers; see resnet50.

    Parameters (total, trainable) and multiply-adds at 224x224:
        v1    44,707,176  44,601,832  7,570,194,432
        v1.5  44,654,504  44,549,160  7,801,405,440
        v2    44,675,560  44,577,896  7,194,476,544
    """
    return imagenet_resnet(101, input_shape, num_classes, version, include_top,
                           classifier_activation, weights)


def resnet152(input_shape=(224, 224, 3), num_classes=1000, *, version="v1", include_top=True,
              classifier_activation=None, weights=None):
    """The residual network of 152 layers; see resnet50.

    Parameters (total, trainable) and multiply-adds at 224x224:
        v1    60,419,944  60,268,520  11,282,415,616
        v1.5  60,344,232  60,192,808  11,513,626,624
        v2    60,380,648  60,236,904  10,906,697,728
    """
    return imagenet_resnet(152, input_shape, num_classes, version, include_top,
                           classifier_activation, weights)


def plain18(input_shape=(224, 224, 3), num_classes=1000, *, include_top=True,
            classifier_activation=None, weights=None):
    """resnet18 without its shortcuts, as the paper compares it (Table 2).

    Parameters: 11,523,496, of which 11,515,688 trainable; 1,794,805,760 multiply-adds at 224x224.
    """
    return imagenet_resnet(18, input_shape, num_classes, "v1", include_top, classifier_activation,
                           weights, plain=True)


def plain34(input_shape=(224, 224, 3), num_classes=1000, *, include_top=True,
            classifier_activation=None, weights=None):
    """resnet34 without its shortcuts: deeper than plain18, and worse (Table 2, Figure 4).

    Parameters: 21,639,080, of which 21,623,848 trainable; 3,644,493,824 multiply-adds at 224x224.
    """
    return imagenet_resnet(34, input_shape, num_classes, "v1", include_top, classifier_activation,
                           weights, plain=True)


def imagenet_resnet(depth, input_shape, num_classes, version, include_top, classifier_activation, weights,
                    plain=False):
    """18 to 152 layers, images (B, H, W, C) of at least 32 pixels; plain: without shortcuts."""
    if version not in VERSIONS:
        raise ValueError(f'version must be "v1", "v1.5" or "v2". Received: {version!r}')
    image = image_input(input_shape, num_classes, smallest=32)
    bottleneck = depth >= 50
    # keras.applications has the bottleneck networks alone; v1 of the others is torchvision's.
    biases = bottleneck and version == "v1"
    norm = KERAS if biases or version == "v2" else TORCH
    x = imagenet_stem(image, 64, None if version == "v2" else norm, bias=biases or version == "v2")
    for stage, blocks in enumerate(BLOCKS[depth], 1):                    # -> 56x56 -> 28x28 -> 14x14 -> 7x7
        width = 64 * 2 ** (stage - 1)
        widths, sizes = ((width, width, 4 * width), (1, 3, 1)) if bottleneck else ((width, width), (3, 3))
        for block in range(blocks):
            name, last = f"stage{stage}_block{block}", block == blocks - 1
            if version == "v2":
                stride = 2 if last and stage < 4 else 1
                strides = (1, stride, 1) if bottleneck else (stride, 1)
                x = preactivation_block(x, widths, sizes, strides, norm, name=name, project_activated=True,
                                        biases=(False,) * (len(widths) - 1) + (True,), project_bias=True,
                                        end=f"stage{stage}" if last and stage < 4 else name)
            else:
                stride = 2 if block == 0 and stage > 1 else 1
                strides = (1, stride, 1) if bottleneck and version == "v1.5" else (stride, 1, 1)
                x = residual_block(x, widths, sizes, strides[:len(widths)], norm, name=name, biases=biases,
                                   shortcut=None if plain else "B", end=f"stage{stage}" if last else name)
    if version == "v2":
        x = norm.relu(x, "stage4_bn", "stage4")
    name = f"{'plain' if plain else 'resnet'}{depth}{VERSIONS[version]}"
    model = averaged_classifier(image, x, num_classes, include_top, classifier_activation, name)
    return weighted(model, weights)


def resnet_cifar(input_shape=(32, 32, 3), num_classes=10, *, depth=20, shortcut="A", version="v1",
                 include_top=True, classifier_activation=None, weights=None):
    """The residual networks for small images: three stages, of 16, 32 and 64 maps.

    Source: He et al. 2016, arXiv:1512.03385, section 4.2, Table 6; "preactivation": He et al.
    2016, arXiv:1603.05027, Table 4; "v2": the example cifar10_resnet.py of Keras 2.
    Shapes: float (B, H, W, C), 4x4 or larger or None -> (B, num_classes) logits; without its top
    (B, H / 4, W / 4, 64), for the other versions 256. stage1 to stage3 name the layers that end the stages.
    shortcut, where a block of v1 changes the number of maps: "A" drops every other row and column
    and appends maps of zeros, without parameters; "B" is a 1x1 convolution, normalised.
    Trainable parameters of v1, shortcut A and B, and multiply-adds of A:
        depth 20        269,722      272,474     40,551,040
              32        464,154      466,906     68,862,592
              44        658,586      661,338     97,174,144
              56        853,018      855,770    125,485,696
             110      1,727,962    1,730,714    252,887,680
            1202     19,421,274   19,424,026  2,829,238,912
    version: "v1", depth 6n + 2. "preactivation", depth 9n + 2: bottlenecks with normalisation and
    relu before each convolution; 1,703,258 trainable parameters at depth 164 and 10,327,706 at 1001.
    "v2", depth 9n + 2: such bottlenecks of 16, 64 and 128 maps, biases in all convolutions;
    1,663,338 trainable parameters, 1,673,738 in all, at depth 56 and 3,323,210 in all at 110.
    Raises ValueError for another depth, shortcut or version, or too small an image.
    """
    if version not in ("v1", "v2", "preactivation"):
        raise ValueError(f'version must be "v1", "v2" or "preactivation". Received: {version!r}')
    if shortcut not in ("A", "B"):
        raise ValueError(f'shortcut must be "A" or "B". Received: {shortcut!r}; '
                         "plain_cifar is the network without shortcuts")
    check_depth(depth, 6 if version == "v1" else 9, 2, f" for version {version}")
    build = small_resnet if version == "v1" else small_bottleneck_resnet
    model = build(depth, input_shape, num_classes, shortcut if version == "v1" else version, include_top,
                  classifier_activation)
    return weighted(model, weights)


def plain_cifar(input_shape=(32, 32, 3), num_classes=10, *, depth=20, include_top=True,
                classifier_activation=None, weights=None):
    """resnet_cifar without its shortcuts: deeper ones are harder to train (Figure 6, left).

    Parameters and multiply-adds are those of resnet_cifar with shortcut A, which adds none.
    Raises ValueError for a depth that is not 6n + 2, or too small an image.
    """
    check_depth(depth, 6, 2)
    model = small_resnet(depth, input_shape, num_classes, None, include_top, classifier_activation)
    return weighted(model, weights)


def small_resnet(depth, input_shape, num_classes, shortcut, include_top, classifier_activation):
    """CIFAR's network of 6n + 2 layers, version v1 (He et al. 2015, section 4.2); shortcut None: plain."""
    image = image_input(input_shape, num_classes, smallest=4)
    x = TORCH.relu(convolution(image, 16, 3, name="stem_conv"), "stem_bn", "stem")
    blocks = (depth - 2) // 6
    for stage, width in enumerate((16, 32, 64), 1):                      # 32x32 -> 16x16 -> 8x8
        for block in range(blocks):
            name = f"stage{stage}_block{block}"
            x = residual_block(x, (width, width), (3, 3), (2 if stage > 1 and block == 0 else 1, 1), TORCH,
                               shortcut=shortcut, name=name,
                               end=f"stage{stage}" if block == blocks - 1 else name)
    return averaged_classifier(image, x, num_classes, include_top, classifier_activation,
                               f"{'resnet' if shortcut else 'plain'}{depth}_cifar")


def small_bottleneck_resnet(depth, input_shape, num_classes, version, include_top, classifier_activation):
    """CIFAR's network of 9n + 2 layers in bottlenecks (He et al. 2016, arXiv:1603.05027, appendix)."""
    image = image_input(input_shape, num_classes, smallest=4)
    biases = version == "v2"
    x = convolution(image, 16, 3, bias=biases, name="stem_conv" if biases else "stem")
    if biases:
        x = TORCH.relu(x, "stem_bn", "stem")
    blocks = (depth - 2) // 9
    widths = ((16, 64), (64, 128), (128, 256)) if biases else ((16, 64), (32, 128), (64, 256))
    for stage, (width, wide) in enumerate(widths, 1):                    # 32x32 -> 16x16 -> 8x8
        for block in range(blocks):
            name = f"stage{stage}_block{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            # Keras's example puts the stride into the first convolution, the authors' code into the 3x3.
            strides = (stride, 1, 1) if biases else (1, stride, 1)
            x = preactivation_block(x, (width, width, wide), (1, 3, 1), strides, TORCH, biases=(biases,) * 3,
                                    project_bias=biases, project_activated=not biases, name=name,
                                    activate=not (biases and stage == 1 and block == 0),
                                    end=f"stage{stage}" if block == blocks - 1 and stage < 3 else name)
    x = TORCH.relu(x, "stage3_bn", "stage3")
    return averaged_classifier(image, x, num_classes, include_top, classifier_activation,
                               f"resnet{depth}_{version}_cifar")


def resnet9(input_shape=(32, 32, 3), num_classes=10, *, widths=(64, 128, 256, 512), include_top=True,
            classifier_activation=None, weights=None):
    """The residual network of nine layers that was trained to 94 % on CIFAR-10 in 79 seconds.

    Source: David Page 2018, How to train your ResNet, and github.com/davidcpage/cifar10-fast.
    Shapes: float (B, H, W, C), 8x8 or larger or None, standardised -> (B, num_classes) logits, which
    are multiplied by .125; without its top (B, H / 8, W / 8, 512).
    Parameters: 6,577,600, of which 6,573,120 trainable; 379,261,952 multiply-adds.
    stem, stage1 to stage3 name the layers that end them; stages 1 and 3 have a residual block.
    Raises ValueError for other than four widths, or too small an image.
    """
    if len(widths) != 4 or any(width < 1 for width in widths):
        raise ValueError(f"widths must be four numbers of at least 1. Received: {widths}")
    image = image_input(input_shape, num_classes, smallest=8)
    x = TORCH.relu(convolution(image, widths[0], 3, name="stem_conv"), "stem_bn", "stem")
    for stage, width in enumerate(widths[1:], 1):                        # 32x32 -> 16x16 -> 8x8 -> 4x4
        name, end = f"stage{stage}", f"stage{stage}_relu"
        x = TORCH.relu(convolution(x, width, 3, name=f"{name}_conv"), f"{name}_bn", end)
        x = layers.MaxPooling2D(2, name=f"{name}_pool" if stage != 2 else name)(x)
        if stage != 2:
            y = x
            for index in (1, 2):
                y = convolution(y, width, 3, name=f"{name}_block0_conv{index}")
                y = TORCH.relu(y, f"{name}_block0_bn{index}", f"{name}_block0_relu{index}")
            x = layers.Add(name=name)([x, y])
    model = scaled_classifier(image, x, num_classes, 0.125, include_top, classifier_activation, "resnet9")
    return weighted(model, weights)


def residual_block(x, widths, sizes, strides, norm, *, biases=False, shortcut, name, end):
    """relu(F(x) + x), equation 1, with F a chain of normalised convolutions, a width, size and stride each.

    (B, H, W, C) -> (B, H / max(strides), W / max(strides), widths[-1]).
    shortcut: "A", "B" or None for none at all.  end: the name of the last relu.
    """
    stride, identity = max(strides), x
    if shortcut and (stride > 1 or x.shape[-1] != widths[-1]):
        if shortcut == "A":
            identity = PaddedShortcut(widths[-1], stride, name=f"{name}_shortcut")(x)
        else:
            identity = convolution(x, widths[-1], 1, stride, bias=biases, name=f"{name}_shortcut_conv")
            identity = norm(identity, f"{name}_shortcut_bn")
    for index, (width, size, step) in enumerate(zip(widths, sizes, strides, strict=True), 1):
        x = convolution(x, width, size, step, bias=biases, name=f"{name}_conv{index}")
        x = norm(x, f"{name}_bn{index}")
        if index < len(widths):
            x = rectified(x, f"{name}_relu{index}")
    if shortcut:
        x = layers.Add(name=f"{name}_add")([identity, x])
    return rectified(x, end)


def preactivation_block(x, widths, sizes, strides, norm, *, biases, project_bias, project_activated, name,
                        end, activate=True):
    """x + F(x), with normalisation and relu before each convolution of F (arXiv:1603.05027, Figure 1b).

    A 1x1 convolution projects the identity where the number of maps changes, from the input
    after its activation or before it; where only the size does, rows and columns are dropped.
    activate: whether the first convolution has an activation before it.  end: the name of the sum.
    """
    stride, identity = max(strides), x
    y = norm.relu(x, f"{name}_bn1", f"{name}_relu1") if activate else x
    if x.shape[-1] != widths[-1]:
        identity = convolution(y if project_activated else x, widths[-1], 1, stride, bias=project_bias,
                               name=f"{name}_shortcut_conv")
    elif stride > 1:
        identity = layers.MaxPooling2D(1, strides=stride, name=f"{name}_shortcut")(x)
    for index, (width, size, step, bias) in enumerate(zip(widths, sizes, strides, biases, strict=True), 1):
        if index > 1:
            y = norm.relu(y, f"{name}_bn{index}", f"{name}_relu{index}")
        y = convolution(y, width, size, step, bias=bias, name=f"{name}_conv{index}")
    return layers.Add(name=end)([identity, y])


@keras.saving.register_keras_serializable("models")
class PaddedShortcut(layers.Layer):
    """Option A of He et al. 2016: every stride-th row and column, and maps of zeros appended.

    (B, H, W, C) -> (B, ceil(H / stride), ceil(W / stride), channels), channels >= C.
    """

    def __init__(self, channels, stride, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.stride = channels, stride

    def call(self, x):
        kept = x[:, ::self.stride, ::self.stride]
        return ops.pad(kept, [[0, 0], [0, 0], [0, 0], [0, self.channels - x.shape[-1]]])

    def compute_output_shape(self, input_shape):
        sides = (side if side is None else -(-side // self.stride) for side in input_shape[1:3])
        return (input_shape[0], *sides, self.channels)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "stride": self.stride}
