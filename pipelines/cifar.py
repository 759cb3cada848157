"""CIFAR-10 and CIFAR-100, through TFDS: 32x32 colour photographs of things and animals.

    cifar10, cifar100   50,000 training images, of which the last 5,000 validate
    digits              scikit-learn's digits enlarged to 32x32 and painted grey in RGB: no download

Test: 10,000 images (digits: 360). Order is TFDS's own. Source: Krizhevsky 2009, Learning
multiple layers of features from tiny images.
"""
import numpy as np

from pipelines import digits
from pipelines.augment import CropFlip
from pipelines.stream import Examples, Splits, Standardized, Stream, cut_last, joined
from pipelines.tfds_source import arrays

VALIDATION = 5_000
# Of the pixels in [0, 1] of all 50,000 training images, red, green and blue.
STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
AUGMENTATIONS = {
    "none": None,
    "flip": CropFlip(pad=0),
    "crop": CropFlip(flip="none"),
    "crop-flip": CropFlip(),                                            # He et al. 2016
    "crop-alternate": CropFlip(flip="alternating"),              # mirrors every other epoch: Jordan 2024
    "reflect-alternate": CropFlip(pad=2, reflect=True, flip="alternating"),     # airbench, Jordan 2024
}
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FINE = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
    camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
    dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
    leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
    otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
    road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
    sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
    wardrobe whale willow_tree wolf woman worm
"""
CIFAR100 = tuple(FINE.split())


def load(name="cifar10", batch_size=128, *, seed=0, fold=None, augment="crop-flip", validation=VALIDATION,
         std=None, **stream_options):
    """-> Splits of uint8 images (N, 32, 32, 3) and int64 labels; the model takes them standardised.

    Each channel has its mean subtracted and is divided by its standard deviation, those of
    the training images: Splits.mean and Splits.std, to be saved with the network.
    augment: a name of AUGMENTATIONS, or a function for Stream's augment.
    validation: images cut from the end of the training images; 0 trains on all of them, and
    there is no validation then. digits has its own 180.
    std: in place of the standard deviations: 1 / 255 gives pixels of 0 to 255 less their mean.
    fold: (k, K) validates on the k-th K-th of training and validation images together.
    stream_options go to Stream: order, variants, vary.
    Raises ValueError for an unknown name or an impossible cut, FileNotFoundError when the data
    is neither cached nor to be downloaded.
    """
    if isinstance(augment, str) and augment not in AUGMENTATIONS:
        raise ValueError(f"augment must be one of {', '.join(AUGMENTATIONS)}, or a function. "
                         f"Received: {augment!r}")
    augment = AUGMENTATIONS[augment] if isinstance(augment, str) else augment
    if name == "digits":
        images, labels, (test_images, test_labels) = painted_digits()
        validation = validation and digits.VALIDATION
        mean, data_std = statistics(images)
    elif name in STATISTICS:
        images, labels = arrays(name, "train", offline="digits")
        test_images, test_labels = arrays(name, "test", offline="digits")
        mean, data_std = STATISTICS[name]
    else:
        raise ValueError(f"data must be one of {', '.join([*STATISTICS, 'digits'])}. Received: {name}")
    std = std or data_std
    prepare = Standardized(mean, std)
    training, validates = cut_last(Examples(images, labels, prepare), validation, fold)
    if getattr(augment, "by_visit", False):
        stream_options.setdefault("augment_by_visit", True)
    return Splits(Stream(training, batch_size, seed=seed, augment=augment, **stream_options),
                  training, validates, Examples(test_images, test_labels, prepare),
                  {"cifar10": CIFAR10, "cifar100": CIFAR100}.get(name, tuple("0123456789")), mean, std)


def painted_digits():
    """-> (images uint8 (N, 32, 32, 3), labels) for training, those that validate last; and for the test."""
    data = digits.load(1, size=32)
    training, test = ((np.repeat(part.inputs, 3, axis=3), part.labels)
                      for part in (joined(data.training, data.validation), data.test))
    return *training, test


def statistics(images):
    """(mean, std) of the pixels in [0, 1], one of each per channel: images uint8 (N, H, W, C)."""
    pixels = images.reshape(-1, images.shape[-1]) / np.float64(255)
    return tuple(tuple(np.round(value, 4).tolist()) for value in (pixels.mean(axis=0), pixels.std(axis=0)))
