"""ImageNet, and anything of its shape: a folder tree with a directory per class in train and in val.

    imagenet/train/n01440764/*.JPEG         imagenet.load("imagenet")
    imagenet/val/n01440764/*.JPEG

    imagenet2012, as TFDS has prepared it   imagenet.load("imagenet2012")

Its validation images, 50 for each of 1,000 classes, are what everybody reports: here they are the
test, and the last ten training images of each class validate. Class names are those in
LOC_synset_mapping.txt, where the tree has that file, else the directories'.
Source: Russakovsky et al. 2015, arXiv:1409.0575.
"""
import dataclasses
from pathlib import Path

import tensorflow as tf

from pipelines import image_folder, records
from pipelines.augment import Chain, ColorJitter, OnPixels, PCAColor
from pipelines.stream import Standardized
from pipelines.tfds_source import data_folder

VALIDATION = 10 / 1300           # of the training images of a class, of which most classes have 1,300
MAPPING = "LOC_synset_mapping.txt"
TFDS = "imagenet2012"


def load(source, batch_size=256, *, jitter=0.0, pca=0.0, mean=image_folder.IMAGENET_MEAN,
         std=image_folder.IMAGENET_STD, check="none", augment=None, mix=None, **options):
    """-> Splits of files as image_folder.load gives them, from train and val below the folder source.

    source: "imagenet2012" means TFDS's, where there is no folder of that name: its files of records are
    read through once, and what was found in them is kept beside them; see pipelines.records.
    jitter: brightness, contrast and saturation change by up to this part of themselves (0.4).
    pca: standard deviation of AlexNet's change of colour along the principal components (0.1).
    mix: a function of the number of classes that gives Stream's mix, or None.
    check: by default files are not looked at before they are read: there are 1.3 million.
    The rest is image_folder.load's. Raises FileNotFoundError where train or val is missing.
    """
    colours = tuple(kind for kind, wanted in ((ColorJitter(jitter), jitter), (PCAColor(pca), pca)) if wanted)
    if colours:
        coloured = OnPixels(Chain(colours), Standardized(mean, std))
        augment = coloured if augment is None else Chain((coloured, augment))
    options.setdefault("validation", VALIDATION)
    if source == TFDS and not Path(source).exists():
        training, tests = of_tfds()
    else:
        training, tests = (image_folder.listed(folder(source, name)) for name in ("train", "val"))
    splits = image_folder.load(training, batch_size, test_source=tests, mean=mean, std=std, check=check,
                               augment=augment, mix=mix and mix(len(training)), **options)
    return dataclasses.replace(splits, class_names=named(Path(source), splits.class_names))


def folder(source, name):
    """The folder train or val below source. Raises FileNotFoundError where there is none."""
    path = Path(source) / name
    if not path.is_dir():
        raise FileNotFoundError(f"{source} has no folder {name}. ImageNet is expected as "
                                f"{source}/train/CLASS/*.JPEG and {source}/val/CLASS/*.JPEG, the "
                                "validation images too in a directory per class")
    return path


def of_tfds():
    """{class: images} to train and to test, in TFDS's order. Raises FileNotFoundError or ValueError."""
    import tensorflow_datasets as tfds
    builder = tfds.builder(TFDS, data_dir=data_folder())
    if not builder.data_path.exists():
        raise FileNotFoundError(
            f"{TFDS} is not in {data_folder()}, and TFDS cannot download it, as ImageNet asks for an "
            f"account: `tfds build {TFDS}` says what to fetch. Or name a folder that holds train and val; "
            "--data digits needs no download.")
    return tuple(records.listed(builder, split) for split in ("train", "validation"))


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
