"""Densely connected networks: every layer reads all maps before it."""
from keras import layers

from models.classifier import image_input
from models.normalised import KERAS, TORCH, averaged_classifier, check_depth, convolution, imagenet_stem
from models.weights import weighted

IMAGENET = {                     # layers per block, growth rate, filters of the first convolution
    121: ((6, 12, 24, 16), 32, 64),
    161: ((6, 12, 36, 24), 48, 96),
    169: ((6, 12, 32, 32), 32, 64),
    201: ((6, 12, 48, 32), 32, 64),
    264: ((6, 12, 64, 48), 32, 64),
}
REFERENCES = {"keras": KERAS, "torchvision": TORCH}


def densenet121(input_shape=(224, 224, 3), num_classes=1000, *, reference="keras", include_top=True,
                classifier_activation=None, weights=None):
    """The dense network of 121 layers: four dense blocks, growth rate 32, halved between blocks.

    Source: Huang et al. 2017, arXiv:1608.06993, Table 1, DenseNet-BC with compression .5.
    Shapes: float (B, H, W, C), 32x32 or larger or None, standardised -> (B, num_classes) logits;
    without its top (B, H / 32, W / 32, 1024). stage1 to stage4 name the layers that end the blocks.
    Parameters: 8,062,504, of which 7,978,856 trainable; 2,834,161,664 multiply-adds at 224x224.
    reference: "keras" or "torchvision", whose epsilon and momentum the normalisations have; the
    weights of both fit.
    weights: "imagenet", or a file; see models.weighted.
    Raises ValueError for another reference, a shape that is not three numbers, or too small an image.
    """
    return imagenet_densenet(121, input_shape, num_classes, reference, include_top,
                             classifier_activation, weights)


def densenet161(input_shape=(224, 224, 3), num_classes=1000, *, reference="keras", include_top=True,
                classifier_activation=None, weights=None):
    """The dense network of 161 layers, with growth rate 48; see densenet121.

    Parameters: 28,900,936, of which 28,681,000 trainable; 7,727,907,072 multiply-adds at 224x224.
    """
    return imagenet_densenet(161, input_shape, num_classes, reference, include_top,
                             classifier_activation, weights)


def densenet169(input_shape=(224, 224, 3), num_classes=1000, *, reference="keras", include_top=True,
                classifier_activation=None, weights=None):
    """The dense network of 169 layers; see densenet121.

    Parameters: 14,307,880, of which 14,149,480 trainable; 3,359,843,328 multiply-adds at 224x224.
    """
    return imagenet_densenet(169, input_shape, num_classes, reference, include_top,
                             classifier_activation, weights)


def densenet201(input_shape=(224, 224, 3), num_classes=1000, *, reference="keras", include_top=True,
                classifier_activation=None, weights=None):
    """The dense network of 201 layers; see densenet121.

    Parameters: 20,242,984, of which 20,013,928 trainable; 4,291,365,888 multiply-adds at 224x224.
    """
    return imagenet_densenet(201, input_shape, num_classes, reference, include_top,
                             classifier_activation, weights)


def densenet264(input_shape=(224, 224, 3), num_classes=1000, *, reference="keras", include_top=True,
                classifier_activation=None, weights=None):
    """The dense network of 264 layers; see densenet121.

    Parameters: 33,736,232, of which 33,337,704 trainable; 5,751,653,376 multiply-adds at 224x224.
    """
    return imagenet_densenet(264, input_shape, num_classes, reference, include_top,
                             classifier_activation, weights)


def imagenet_densenet(depth, input_shape, num_classes, reference, include_top, classifier_activation,
                      weights):
    """The network of that depth in IMAGENET, of Table 1; arguments, shapes and errors are densenet121's."""
    if reference not in REFERENCES:
        raise ValueError(f'reference must be "keras" or "torchvision". Received: {reference!r}')
    blocks, growth_rate, filters = IMAGENET[depth]
    dense = Dense(growth_rate, bottleneck=True, compression=0.5, norm=REFERENCES[reference])
    image = image_input(input_shape, num_classes, smallest=32)
    x = dense.blocks(imagenet_stem(image, filters, dense.norm), blocks)         # 224x224 -> 56x56 -> 7x7
    model = averaged_classifier(image, x, num_classes, include_top, classifier_activation, f"densenet{depth}")
    return weighted(model, weights)


def densenet_cifar(input_shape=(32, 32, 3), num_classes=10, *, depth=40, growth_rate=12, bottleneck=False,
                   compression=1.0, dropout=0.0, include_top=True, classifier_activation=None, weights=None):
    """The dense networks for small images: three dense blocks of equally many layers.

    Source: Huang et al. 2017, arXiv:1608.06993, section 3 and Table 2. DenseNet-BC is
    bottleneck=True, compression=.5.
    Shapes: float (B, H, W, C), 4x4 or larger or None, standardised -> (B, num_classes) logits.
    Trainable parameters for 10 and 100 classes, and multiply-adds for 10:
        L 40,  k 12          1,019,722    1,060,132    264,812,928
        L 100, k 12          6,979,642    7,084,852  1,769,516,448
        L 100, k 24         27,249,082   27,457,972  6,889,347,744
        L 100, k 12, BC        769,162      800,032    287,929,692
        L 250, k 24, BC     15,324,406   15,480,556  5,418,785,724
        L 190, k 40, BC     25,624,430   25,821,620  9,301,945,740
    bottleneck: a 1x1 convolution to 4 growth_rate maps before each 3x3 one.  compression: the part
    of the maps that a transition between blocks keeps, in (0, 1].  dropout: probability that an
    output of a convolution, but the first, is dropped; the authors take .2 without augmentation.
    Raises ValueError for a depth that is not 3n + 4 (6n + 4 with bottleneck), an argument out of
    range, or too small an image.
    """
    per_layer = 6 if bottleneck else 3
    check_depth(depth, per_layer, 4, " with bottleneck" if bottleneck else "")
    if growth_rate < 1 or not 0 < compression <= 1 or not 0 <= dropout < 1:
        raise ValueError("growth_rate must be at least 1, compression in (0, 1] and dropout in [0, 1). "
                         f"Received: growth_rate={growth_rate}, compression={compression}, dropout={dropout}")
    image = image_input(input_shape, num_classes, smallest=4)
    dense = Dense(growth_rate, bottleneck, compression, dropout=dropout)
    x = convolution(image, 2 * growth_rate if bottleneck else 16, 3, name="stem")
    x = dense.blocks(x, ((depth - 4) // per_layer,) * 3)                 # 32x32 -> 16x16 -> 8x8
    model = averaged_classifier(image, x, num_classes, include_top, classifier_activation,
                                f"densenet{depth}_k{growth_rate}_cifar")
    return weighted(model, weights)


class Dense:
    """What all dense blocks of a network share, and how they are built from it."""

    def __init__(self, growth_rate, bottleneck, compression, *, dropout=0.0, norm=TORCH):
        self.growth_rate, self.bottleneck, self.compression = growth_rate, bottleneck, compression
        self.dropout, self.norm = dropout, norm

    def blocks(self, x, counts):
        """Dense blocks of so many layers each, transitions between them, a last normalisation and relu."""
        for stage, count in enumerate(counts, 1):
            for layer in range(count):
                # The last block ends with the activation after it.
                last = layer == count - 1 and stage < len(counts)
                name = f"stage{stage}_layer{layer}"
                x = self.layer(x, name, end=f"stage{stage}" if last else name)
            if stage < len(counts):
                x = self.transition(x, f"transition{stage}")
        return self.norm.relu(x, f"stage{stage}_bn", f"stage{stage}")

    def layer(self, x, name, end):
        """[x, H(x)], equation 2: (B, H, W, C) -> (B, H, W, C + growth_rate)."""
        y = self.norm.relu(x, f"{name}_bn1", f"{name}_relu1")
        if self.bottleneck:
            y = self.convolution(y, 4 * self.growth_rate, 1, f"{name}_conv1")
            y = self.norm.relu(y, f"{name}_bn2", f"{name}_relu2")
        y = self.convolution(y, self.growth_rate, 3, f"{name}_conv{2 if self.bottleneck else 1}")
        return layers.Concatenate(name=end)([x, y])

    def transition(self, x, name):
        """Fewer maps of half the size: (B, H, W, C) -> (B, H / 2, W / 2, compression C)."""
        maps = int(x.shape[-1] * self.compression)
        x = self.norm.relu(x, f"{name}_bn", f"{name}_relu")
        return layers.AveragePooling2D(2, name=f"{name}_pool")(self.convolution(x, maps, 1, f"{name}_conv"))

    def convolution(self, x, width, size, name):
        x = convolution(x, width, size, name=name)
        return layers.Dropout(self.dropout, name=f"{name}_dropout")(x) if self.dropout else x
