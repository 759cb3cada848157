"""One's own images, texts and the like through a trained network: what travels in model.keras is enough."""
import json
import zipfile
from pathlib import Path

import numpy as np

from training.predictions import activated
from training.run import ABOUT, MODEL, load_network

SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


class Network:
    """A model.keras, or the run folder that holds one, with what was saved beside it.

    Raises FileNotFoundError or ValueError, naming the file, if there is none or it is damaged.
    """

    def __init__(self, path):
        self.path = model_file(path)
        self.model, self.about = load_network(self.path), about(self.path)

    @property
    def class_names(self):
        """Names of the classes; numbers where the model has none. A single output tells two classes apart."""
        count = max(2, self.model.output_shape[-1])
        names = self.about.get("class_names") or []
        return names if len(names) == count else [str(index) for index in range(count)]

    def probabilities(self, inputs):
        """What the model takes, (N, ...) -> float32 (N, classes).

        Logits go through the activation that the network was saved with, softmax if none is named.
        """
        outputs = np.asarray(self.model.predict(inputs, verbose=0), np.float32)
        last = getattr(getattr(self.model.layers[-1], "activation", None), "__name__", "")
        if last in ("softmax", "sigmoid"):                       # the outputs are probabilities already
            return outputs if outputs.shape[1] > 1 else np.concatenate([1 - outputs, outputs], axis=1)
        return activated(outputs, self.about.get("activation", "softmax")).astype(np.float32)

    def top(self, wanted):
        """How many classes to show: `wanted`, or at most three. Raises ValueError."""
        classes = len(self.class_names)
        if wanted is not None and not 1 <= wanted <= classes:
            raise ValueError(f"--top must be in [1, {classes}], the number of classes. Received: {wanted}")
        return min(3, classes) if wanted is None else wanted

    def say(self, names, inputs, top, say):
        """Label and probabilities of each input, a line each."""
        width = max(map(len, names))
        for name, row in zip(names, self.probabilities(inputs), strict=True):
            best = np.argsort(-row, kind="stable")[:top]
            likely = ", ".join(f"{self.class_names[index]} {100 * row[index]:.1f} %" for index in best)
            say(f"{name:{width}s}  {self.class_names[best[0]]}  ({likely})")


class Classifier(Network):
    """A Network for image files. Raises also ValueError if it does not take images."""

    def __init__(self, path):
        super().__init__(path)
        path, shape = self.path, self.model.input_shape
        if (not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:] or shape[3] not in (1, 3)
                or len(self.model.output_shape) != 2):
            raise ValueError(f"predict is for classifiers of images. {path} takes {shape} "
                             f"and gives {self.model.output_shape}")
        self.height, self.width, self.channels = shape[1:]

    @property
    def takes(self):
        """The images that the model takes, in words."""
        return f"{self.width}x{self.height} {'grey' if self.channels == 1 else 'RGB'} images of 8 bits"

    def pixels(self, path, *, resize=False, invert=False):
        """An image file -> float32 (height, width, channels), scaled as in training.

        resize makes any image fit: its size (without regard to its proportions), its
        colours, transparency on white, 16 bits. invert swaps black and white.
        Raises OSError or ValueError, naming the file.
        """
        image = opened(path)
        mode = "L" if self.channels == 1 else "RGB"
        if resize:
            image = converted(image, mode, path).resize((self.width, self.height), resample=3)   # bicubic
        elif image.mode != mode or image.size != (self.width, self.height):
            raise ValueError(f"{path} is a {described(image)} image, and the model takes {self.takes}. "
                             "--resize converts it.")
        pixels = np.asarray(image, np.float32).reshape(self.height, self.width, self.channels) / 255
        if invert:
            pixels = 1 - pixels
        mean, std = self.about.get("mean", 0.0), self.about.get("std", 1.0)
        return (pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)


def model_file(path):
    """model.keras of a run folder, or the path itself. Raises FileNotFoundError."""
    path = Path(path)
    if path.is_dir() and not (path / MODEL).exists():
        parts = sorted(str(part.parent) for part in path.glob(f"*/{MODEL}"))
        raise FileNotFoundError(f"{path} holds no {MODEL}: " + (
            f"its networks are in {', '.join(parts)}" if parts
            else "it is no run folder, or its run is not finished"))
    return path / MODEL if path.is_dir() else path


def kind(path):
    """What a saved network takes: "image", or the kind that Run.save was told."""
    path = model_file(path)
    return about(path).get("kind", "image") if zipfile.is_zipfile(path) else "image"


def about(path):
    """What Run.save put beside the network; {} for a .keras file from elsewhere."""
    with zipfile.ZipFile(path) as archive:
        if ABOUT not in archive.namelist():
            return {}
        return json.loads(archive.read(ABOUT))


def opened(path):
    """The first picture in an image file, upright. Raises OSError or ValueError, naming the file."""
    from PIL import Image, ImageOps, UnidentifiedImageError
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not an image file")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty")
    try:
        image = Image.open(path)
        image.load()
        return ImageOps.exif_transpose(image)
    except PermissionError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is not an image file that can be read "
                         "(PNG, JPEG, GIF, BMP, TIFF, WebP can)") from error
    except Exception as error:               # truncated or damaged: each format has errors of its own
        raise ValueError(f"{path} is damaged or truncated: {error}") from error


def converted(image, mode, path):
    """The image in mode L or RGB; transparent parts become white."""
    from PIL import Image
    if image.mode in SIXTEEN_BIT:
        values = np.asarray(image).astype(np.int64)
        image = Image.fromarray((np.clip(values, 0, 65535) // 257).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError(f"{path} holds floating-point numbers, whose black and white are not known. "
                         "Save it with 8 or 16 bits.")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB").convert(mode)


def described(image):
    """Size and kind of a Pillow image in words, for messages: 28x28 grey."""
    kinds = {"1": "black and white", "L": "grey", "RGB": "RGB", "RGBA": "RGBA (transparent)", "CMYK": "CMYK",
             "P": "palette", "LA": "grey, transparent", "F": "floating-point"}
    kind = "16-bit grey" if image.mode in SIXTEEN_BIT else kinds.get(image.mode, image.mode)
    return f"{image.width}x{image.height} {kind}"


def predict(path, files, *, resize=False, invert=False, top=None, say=print):
    """Says label and probabilities for each file and returns [sentence] for those that could not be read."""
    classifier = Classifier(path)
    top = classifier.top(top)
    good, pixels, errors = [], [], []
    for file in files:
        try:
            pixels.append(classifier.pixels(file, resize=resize, invert=invert))
            good.append(str(file))
        except (OSError, ValueError) as error:
            errors.append(str(error))
    if good:
        classifier.say(good, np.stack(pixels), top, say)
    return errors


def read_all(reader, files, values=()):
    """([(name, what reader.read gave)], [sentence]) of files, which reader.load opens, and values as such."""
    good, errors = [], []
    named = [*((str(file), None) for file in files), *((shortened(value), value) for value in values)]
    for name, value in named:
        try:
            good.append((name, reader.read(reader.load(name) if value is None else value, name)))
        except (OSError, ValueError) as error:
            errors.append(str(error))
    return good, errors


def shortened(text, length=40):
    """A text for the terminal, in quotation marks."""
    text = " ".join(text.split())
    return f'"{text if len(text) <= length else text[:length - 3] + "..."}"'
