"""Images that stay on disk: finite splits and endless streams of files, decoded when they are needed.

A FileStream is a Stream: batch i is a pure function of (seed, i). training.loop feeds it through
tf.data, which decodes several batches at once and ahead of time. JPEG and PNG files of 8 bits
are decoded by TensorFlow, a JPEG only where the crop is. Whatever else Pillow reads goes
through Pillow: CMYK, 16 bits, palettes, transparency (on white), pictures that lie on their
side, TIFF, WebP.
"""
import dataclasses
import functools
import math
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines import records
from pipelines.distort import keys, uniform
from pipelines.stream import Standardized, Stream, unit_interval, untuned

KIND = "photograph"              # of what a network takes, for predict

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
ATTEMPTS = 10                    # to place a crop of random shape, before it is the middle of the image
SALT = 2_000                     # the pair of random numbers where cropping begins
ORIENTATION = 0x0112             # the tag of EXIF; 1 is upright
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
TOLD = 20                        # unreadable files that a message names


def paths_below(folder):
    """The image files below a folder, sorted, hidden ones left out: list of str."""
    return sorted(str(path) for path in Path(folder).rglob("*")
                  if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file())


def by_pillow(path):
    """An image file in RGB, upright, transparency on white: uint8 (H, W, 3). Raises OSError or ValueError."""
    from PIL import Image, ImageOps
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode in SIXTEEN_BIT:
            values = np.asarray(image).astype(np.int64)
            image = Image.fromarray((np.clip(values, 0, 65535) // 257).astype(np.uint8))
        elif image.mode == "F":
            raise ValueError("holds floating-point numbers, whose black and white are not known")
        elif image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB"))


def examined(path, check):
    """(whether only Pillow reads the file as it should be, what is wrong with it or "").

    check "headers" reads the header and looks for the mark at the end of a JPEG or PNG; where
    that is missing, and for all files with "decode", the whole image is decoded.
    """
    from PIL import Image, UnidentifiedImageError
    try:
        if not Path(path).stat().st_size:
            return False, "is empty"
        with Image.open(path) as image:
            special = (image.format not in ("JPEG", "PNG", "BMP") or image.mode not in ("RGB", "L")
                       or image.has_transparency_data
                       or (image.format == "JPEG" and image.getexif().get(ORIENTATION, 1) != 1))
        if check == "decode" or not ends_well(path, image.format):
            by_pillow(path)
            if not special:
                tf.io.decode_image(tf.io.read_file(path), channels=3)
        return special, ""
    except UnidentifiedImageError:
        return False, "is no image that can be read"
    except FileNotFoundError:
        return False, "does not exist"
    except PermissionError as error:
        return False, f"cannot be read ({error.strerror})"
    except Exception as error:                   # each format has errors of its own
        reason = str(getattr(error, "message", error)).split(" [Op")[0].strip().splitlines()
        return False, f"is damaged: {reason[0][:120] if reason else type(error).__name__}"


def ends_well(path, kind):
    """Whether a file has its format's mark at its end, as one that was cut off has not."""
    if kind not in ("JPEG", "PNG"):
        return True
    with open(path, "rb") as file:
        file.seek(max(0, Path(path).stat().st_size - 64))
        return (b"\xff\xd9" if kind == "JPEG" else b"IEND") in file.read()


def scan(paths, check="headers"):
    """(special bool (N,), [(path, what is wrong)]) of image files; check: "none", "headers" or "decode".

    special: only Pillow reads it as it should be. Without a check none is.
    """
    if check not in ("none", "headers", "decode"):
        raise ValueError(f'check must be "none", "headers" or "decode". Received: {check!r}')
    if check == "none":
        return np.zeros(len(paths), bool), []
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(functools.partial(examined, check=check), paths))
    return (np.array([special for special, _ in found], bool),
            [(path, wrong) for path, (_, wrong) in zip(paths, found, strict=True) if wrong])


def told(problems, count):
    """A sentence that names the files that cannot be read."""
    names = "; ".join(f"{path} {wrong}" for path, wrong in problems[:TOLD])
    more = f"; and {len(problems) - TOLD} more" if len(problems) > TOLD else ""
    return f"{len(problems)} of {count} image files cannot be read: {names}{more}"


def decoded(path, special, window):
    """A part of an image file: uint8 (h, w, 3).

    path: string scalar, special: bool scalar, window: (height, width int32) -> int32 (4,), top,
    left, height and width of the part.
    """
    def sliced(image):
        top, left, height, width = tf.unstack(window(tf.shape(image)[0], tf.shape(image)[1]))
        return image[top:top + height, left:left + width]

    def pillow():
        image = tf.numpy_function(lambda name: by_pillow(np.asarray(name).item().decode()), [path], tf.uint8)
        return sliced(tf.ensure_shape(image, (None, None, 3)))

    def plain():
        contents = records.contents(path)

        def jpeg():
            shape = tf.image.extract_jpeg_shape(contents)
            return tf.image.decode_and_crop_jpeg(contents, window(shape[0], shape[1]), channels=3)

        def other():
            image = tf.io.decode_image(contents, channels=3, expand_animations=False)
            return sliced(tf.ensure_shape(image, (None, None, 3)))
        return tf.cond(tf.io.is_jpeg(contents), jpeg, other)
    return tf.cond(special, pillow, plain)


def resized(image, size, antialias):
    """uint8 (h, w, 3) -> uint8 (size, size, 3), bilinearly; antialias: over all pixels that become one."""
    image = tf.image.resize(image, (size, size), antialias=antialias)
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
    """A random part of an image, of random area and proportions, resized to a square; half are mirrored.

    Szegedy et al. 2015, arXiv:1409.4842, section 6, in the numbers of torchvision's transform. Where
    ten places do not fit, the largest middle part of allowed proportions is taken, as there.
    area: least and largest part of the image.  ratio: of width to height, even in its logarithm.
    antialias: True averages over all pixels that become one, as Pillow does, at half the speed.
    Raises ValueError for bounds that are not in order.
    """
    size: int = 224
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True
    antialias: bool = False

    def __post_init__(self):
        if not (0 < self.area[0] <= self.area[1] <= 1 and 0 < self.ratio[0] <= self.ratio[1]
                and self.size >= 1):
            raise ValueError("area must be bounds in (0, 1] and ratio bounds above 0, each the smaller "
                             f"first, and size at least 1. Received: {self}")

    def numbers(self, seeds):
        """What is random about each example: seeds int64 (B, 2) -> float32 (B, 4 ATTEMPTS + 2) in [0, 1)."""
        pairs = (uniform(keys(seeds), 2 * ATTEMPTS + 1, SALT) + 1) / 2
        return tf.concat(tf.unstack(pairs), axis=1)

    def window(self, height, width, numbers):
        """int32 (4,): top, left, height and width of the part; numbers float32 (4 ATTEMPTS,)."""
        height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
        area, ratio, down, right = tf.unstack(tf.reshape(numbers, (4, ATTEMPTS)))
        low, high = (math.log(bound) for bound in self.ratio)
        area = height * width * (self.area[0] + area * (self.area[1] - self.area[0]))
        ratio = tf.exp(low + ratio * (high - low))
        tall, wide = tf.round(tf.sqrt(area / ratio)), tf.round(tf.sqrt(area * ratio))
        fits = tf.logical_and(tf.logical_and(tall <= height, wide <= width), tf.minimum(tall, wide) >= 1)
        first = tf.argmax(tf.cast(fits, tf.int32))
        tall, wide, down, right = tall[first], wide[first], down[first], right[first]
        fallback_wide = tf.round(tf.minimum(width, height * self.ratio[1]))
        fallback_tall = tf.round(tf.minimum(height, width / self.ratio[0]))
        any_fits = tf.reduce_any(fits)
        tall, wide = tf.where(any_fits, tall, fallback_tall), tf.where(any_fits, wide, fallback_wide)
        top = tf.where(any_fits, tf.floor(down * (height - tall + 1)), (height - tall) // 2)
        left = tf.where(any_fits, tf.floor(right * (width - wide + 1)), (width - wide) // 2)
        return tf.cast(tf.stack([top, left, tall, wide]), tf.int32)

    def __call__(self, path, special, numbers):
        image = decoded(path, special,
                        lambda height, width: self.window(height, width, numbers[:4 * ATTEMPTS]))
        image = resized(image, self.size, self.antialias)
        if self.flip:
            image = tf.cond(numbers[-1] < 0.5, lambda: image[:, ::-1], lambda: image)
        return tf.ensure_shape(image, (self.size, self.size, 3))


@dataclasses.dataclass(frozen=True)
class CentreCrop:
    """The middle square of an image, of `share` of its shorter side, resized: for evaluation.

    share .875 is 224 of 256 pixels. As the crop of a stream it is the same each time.
    """
    size: int = 224
    share: float = 0.875

    def numbers(self, seeds):
        return tf.zeros((tf.shape(seeds)[0], 1))

    def __call__(self, path, special, numbers=None):
        def window(height, width):
            side = tf.cast(tf.minimum(height, width), tf.float32) * self.share
            side = tf.maximum(tf.cast(tf.round(side), tf.int32), 1)
            return tf.stack([(height - side) // 2, (width - side) // 2, side, side])
        image = resized(decoded(path, special, window), self.size, antialias=True)
        return tf.ensure_shape(image, (self.size, self.size, 3))


class Pictures:
    """The images of a FileExamples as an array would be: shape, ndim, and rows decoded when asked for."""
    ndim = 4

    def __init__(self, examples):
        self.examples = examples
        self.shape = (len(examples), examples.crop.size, examples.crop.size, 3)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """uint8 (n, H, W, 3) of a slice or an index array, (H, W, 3) of one index."""
        numbers = np.arange(len(self))[rows]
        pictures = [self.examples.picture(row).numpy() for row in np.atleast_1d(numbers)]
        return np.reshape(pictures, (*np.shape(numbers), *self.shape[1:])).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class FileExamples:
    """A finite split of image files with their labels in memory; see pipelines.stream.Examples.

    paths: (N,) str.  labels: int64 (N,).  special: bool (N,), the files that Pillow has to read; scan
    finds them.  crop: how a file becomes a square, CentreCrop.  prepare: as in Examples.
    """
    paths: np.ndarray
    labels: np.ndarray
    special: np.ndarray
    crop: CentreCrop
    prepare: callable = unit_interval

    def __post_init__(self):
        if not len(self.paths) == len(self.labels) == len(self.special) or not len(self.paths):
            raise ValueError("FileExamples needs as many labels as paths, at least one. "
                             f"Received: {len(self.paths)} paths, {len(self.labels)} labels")

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, rows):
        """The examples of a slice or an index array, as FileExamples."""
        return dataclasses.replace(self, paths=self.paths[rows], labels=self.labels[rows],
                                   special=self.special[rows])

    @property
    def inputs(self):
        return Pictures(self)

    @property
    def preprocessing(self):
        """What a Reader needs, beside mean and std: the crop, and the order of the channels."""
        return {"kind": KIND, "size": self.crop.size, "share": self.crop.share,
                "bgr": getattr(self.prepare, "bgr", False)}

    def picture(self, row):
        """uint8 (size, size, 3), as evaluation sees it."""
        return self.crop(tf.constant(str(self.paths[row])), tf.constant(bool(self.special[row])))

    def dataset(self, batch_size=64):
        """A tf.data.Dataset of (prepared inputs, labels), in order, the last batch smaller."""
        files = tf.data.Dataset.from_tensor_slices((self.paths.astype(str), self.special))
        images = files.map(self.crop, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)
        labels = tf.data.Dataset.from_tensor_slices(self.labels).batch(batch_size)
        return untuned(tf.data.Dataset.zip(images.map(self.prepare), labels).prefetch(2))

    def explained(self, error, rows=None):
        """What to say when reading failed: the files among rows (all by default) that cannot be decoded.

        -> ValueError that names them, or error itself where all can be.
        """
        problems = []
        for row in range(len(self)) if rows is None else rows:
            try:
                decoded(tf.constant(str(self.paths[row])), tf.constant(bool(self.special[row])),
                        lambda height, width: tf.stack([0, 0, height, width]))
            except tf.errors.OpError as reason:
                words = re.sub(r"\{\{.*?\}\} ?", "", reason.message).split(" [Op")[0].strip().splitlines()
                wrong = "is damaged" if Path(records.file_of(self.paths[row])).exists() else "does not exist"
                problems.append((self.paths[row], f"{wrong} ({words[0][:120]})"))
        return ValueError(told(problems, len(self))) if problems else error


class Reader:
    """Photographs of any size for a network that was saved with Splits.preprocessing: cropped as its test's.

    about: {"size", "share", "bgr", "mean", "std"}.  invert: swap black and white.
    """

    def __init__(self, about, *, invert=False):
        self.crop, self.invert = CentreCrop(about["size"], about["share"]), invert
        self.prepare = Standardized(about["mean"], about["std"], about["bgr"])

    def load(self, path):
        """uint8 (size, size, 3) of a file. Raises ValueError that names it."""
        special, wrong = examined(path, "decode")
        if wrong:
            raise ValueError(f"{path} {wrong}")
        return self.crop(tf.constant(str(path)), tf.constant(special)).numpy()

    def read(self, picture, name):
        return 255 - picture if self.invert else picture

    def batch(self, pictures):
        """float32 (B, size, size, 3), as the network takes them."""
        return self.prepare(tf.constant(np.stack(pictures)))


class FileStream(Stream):
    """Endless training batches from image files: a Stream whose images are decoded for each batch.

    crop: RandomResizedCrop, or CentreCrop for no variation. Other arguments, order and errors are
    Stream's; augment and mix get prepared float images as there.
    """
    on_disk = True

    def __init__(self, examples, batch_size, *, crop, **options):
        super().__init__(examples, batch_size, **options)
        self.crop = crop

    @functools.cached_property
    def _tensors(self):
        with tf.init_scope(), tf.device("CPU:0"):
            return (tf.constant(self.examples.paths.astype(str)), tf.constant(self.examples.special),
                    tf.constant(self.examples.labels))

    def fetch(self, index, seeds):
        paths, special, labels = (tf.gather(values, index) for values in self._tensors)
        images = tf.map_fn(lambda values: self.crop(*values), (paths, special, self.crop.numbers(seeds)),
                           fn_output_signature=tf.TensorSpec((self.crop.size, self.crop.size, 3), tf.uint8))
        return self.examples.prepare(images), labels

    def explained(self, error, i):
        """As FileExamples.explained, for the files of batch i."""
        positions = tf.cast(i, tf.int64) * self.batch_size + tf.range(self.batch_size, dtype=tf.int64)
        return self.examples.explained(error, (self._order(positions) % len(self.examples)).numpy())
