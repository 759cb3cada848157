"""ImageNet, and anything of its shape: a folder tree with a directory per class in train and in val.

    imagenet/train/n01440764/*.JPEG         imagenet.load("imagenet")
    imagenet/val/n01440764/*.JPEG

Its validation images, 50 for each of 1,000 classes, are what everybody reports: here they are the
test, and the last ten training images of each class validate. Class names are those in
LOC_synset_mapping.txt, where the tree has that file, else the directories'.
Source: Russakovsky et al. 2015, arXiv:1409.0575.
"""
import dataclasses
from pathlib import Path

import tensorflow as tf

from pipelines import image_folder
from pipelines.augment import Chain, ColorJitter, OnPixels, PCAColor
from pipelines.stream import Standardized

VALIDATION = 10 / 1300           # of the training images of a class, of which most classes have 1,300
MAPPING = "LOC_synset_mapping.txt"


def load(source, batch_size=256, *, jitter=0.0, pca=0.0, mean=image_folder.IMAGENET_MEAN,
         std=image_folder.IMAGENET_STD, check="none", augment=None, **options):
    """-> Splits of files as image_folder.load gives them, from train and val below the folder source.

    jitter: brightness, contrast and saturation change by up to this part of themselves (0.4).
    pca: standard deviation of AlexNet's change of colour along the principal components (0.1).
    check: by default files are not looked at before they are read: there are 1.3 million.
    The rest is image_folder.load's. Raises FileNotFoundError where train or val is missing.
    """
    colours = tuple(kind for kind, wanted in ((ColorJitter(jitter), jitter), (PCAColor(pca), pca)) if wanted)
    if colours:
        coloured = OnPixels(Chain(colours), Standardized(mean, std))
        augment = coloured if augment is None else Chain((coloured, augment))
    options.setdefault("validation", VALIDATION)
    splits = image_folder.load(folder(source, "train"), batch_size, test_source=folder(source, "val"),
                               mean=mean, std=std, check=check, augment=augment, **options)
    return dataclasses.replace(splits, class_names=named(Path(source), splits.class_names))


def folder(source, name):
    """The folder train or val below source. Raises FileNotFoundError where there is none."""
    path = Path(source) / name
    if not path.is_dir():
        raise FileNotFoundError(f"{source} has no folder {name}. ImageNet is expected as "
                                f"{source}/train/CLASS/*.JPEG and {source}/val/CLASS/*.JPEG, the "
                                "validation images too in a directory per class")
    return path


def named(source, directories):
    """The first word for each class by the tree's own list, else the directory."""
    path = source / MAPPING
    if not path.exists():
        return directories
    lines = dict(line.split(" ", 1) for line in path.read_text().splitlines() if " " in line)
    return tuple(lines.get(name, name).split(",")[0].strip() for name in directories)


def ten_crops(images, size):
    """The four corners and the middle of each image, and the same mirrored.

    Krizhevsky et al. 2012, section 4.1: predictions are averaged over them. images (B, H, W, C), H and
    W at least size -> (10, B, size, size, C).
    Raises ValueError for images that are smaller.
    """
    height, width = images.shape[1:3]
    if min(height, width) < size:
        raise ValueError(f"crops of {size} pixels need images of at least {size}x{size}. "
                         f"Received: {height}x{width}")
    bottom, right = height - size, width - size
    places = (0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)
    crops = [images[:, top:top + size, left:left + size] for top, left in places]
    return tf.stack([*crops, *(crop[:, :, ::-1] for crop in crops)])
