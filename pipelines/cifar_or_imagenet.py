"""The data of recipes that train on CIFAR by default and on ImageNet when asked, each in its own way."""
from pipelines import cifar, imagenet


def load(data, batch_size, *, augment="crop-flip", size=224, pca=0.0, **options):
    """-> Splits of "cifar10", "cifar100" or "digits", else of ImageNet's tree in the folder data.

    augment: of the small images alone; see cifar.load.  size, pca: of the photographs alone; see
    imagenet.load.  options go to either: seed, fold, std.
    """
    if data in (*cifar.STATISTICS, "digits"):
        return cifar.load(data, batch_size, augment=augment, **options)
    return imagenet.load(data, batch_size, size=size, pca=pca, **options)
