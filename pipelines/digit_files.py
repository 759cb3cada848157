"""scikit-learn's digits as a tree of JPEG files: the offline twin of a folder of photographs."""
from pathlib import Path

import numpy as np

from pipelines import digits

COLOURS = ((1, 1, 1), (1, 0.6, 0.3), (0.4, 0.8, 1))        # in turn, so that colour tells nothing


def write(folder, *, train=30, val=6, size=48):
    """Writes folder/train/0/000.jpg to folder/val/9/..., as ImageNet's tree is; what is there already stays.

    train and val: images of each of the ten digits, at most 120 and 25.  -> Path of the folder.
    """
    from PIL import Image
    folder, data = Path(folder), digits.load(1)
    for part, examples, count in (("train", data.training, train), ("val", data.test, val)):
        for label, name in enumerate(data.class_names):
            directory = folder / part / name
            directory.mkdir(parents=True, exist_ok=True)
            for index, row in enumerate(np.flatnonzero(examples.labels == label)[:count]):
                path = directory / f"{index:03d}.jpg"
                if not path.exists():
                    image = Image.fromarray(examples.inputs[row, ..., 0]).resize((size, size + size // 4))
                    pixels = np.asarray(image)[..., None] * np.array(COLOURS[index % len(COLOURS)])
                    Image.fromarray(pixels.astype(np.uint8)).save(path, quality=95)
    return folder
