"""Every builder with what it costs, from numbers that are stored: quick, and without TensorFlow."""
import dataclasses
import difflib
import fnmatch
import importlib
import json
from pathlib import Path

MEASURED = Path(__file__).with_name("catalog.json")
COUNTS = ("input_shape", "parameters", "trainable_parameters", "multiply_adds", "activations", "depth")

ROSENBLATT = "Rosenblatt, The perceptron", 1958
RUMELHART = "Rumelhart et al., Back-propagating errors", 1986
LECUN_1990 = "LeCun et al., Back-propagation network", 1990
LECUN_1998 = "LeCun et al., Gradient-based learning", 1998
SIMARD = "Simard et al., Best practices", 2003
CIRESAN_2010 = "Cirešan et al., Big simple nets", 2010
CIRESAN_2012 = "Cirešan et al., arXiv:1202.2745", 2012
NIELSEN = "Nielsen, Neural networks, chapter 6", 2015
KRIZHEVSKY_2012 = "Krizhevsky et al., ImageNet classification", 2012
KRIZHEVSKY_2014 = "Krizhevsky, arXiv:1404.5997", 2014
SIMONYAN = "Simonyan and Zisserman, arXiv:1409.1556", 2015
SZEGEDY = "Szegedy et al., arXiv:1409.4842", 2015
IOFFE = "after Ioffe and Szegedy, arXiv:1502.03167", 2015
HE = "He et al., arXiv:1512.03385", 2016
HE_V2 = "He et al., arXiv:1603.05027", 2016
GOYAL = "He et al.; stride as Goyal et al., arXiv:1706.02677", 2017
HUANG = "Huang et al., arXiv:1608.06993", 2017
PAGE = "Page, How to train your ResNet", 2018
JORDAN = "Jordan, arXiv:2404.00498", 2024
HOCHREITER = "Hochreiter and Schmidhuber, Long short-term memory", 1997
SCHMIDHUBER = "Graves and Schmidhuber, Offline handwriting recognition", 2008
GRAVES = "Graves et al., arXiv:1303.5778", 2013
KARPATHY = "Karpathy, char-rnn", 2015
KOCH = "Koch et al., Siamese neural networks", 2015
SAINATH = "after Sainath and Parada, Small-footprint keyword spotting", 2015
SNELL = "Snell et al., arXiv:1703.05175", 2017
OURS = "this collection", 2026

BC = {"bottleneck": True, "compression": 0.5}
# Module, builder, what sets this network apart from the builder's default, arguments, (paper, year).
NETWORKS = [
    ("perceptron", "threshold_perceptron", "2-2-1", {"hidden": [2]}, ROSENBLATT),
    ("mlp", "mlp", "784-30-10", {"hidden": [30]}, RUMELHART),
    ("mlp", "mlp", "841-2500-2000-1500-1000-500-10",
     {"input_shape": [29, 29, 1], "hidden": [2500, 2000, 1500, 1000, 500]}, CIRESAN_2010),
    ("lenet", "lenet1", "", {}, LECUN_1990),
    ("lenet", "lenet5", "", {}, LECUN_1998),
    ("lenet", "modern_lenet5", "", {}, LECUN_1998),
    ("convnet", "simard_convnet", "", {}, SIMARD),
    ("convnet", "mcdnn_column", "", {}, CIRESAN_2012),
    ("convnet", "nielsen_convnet", "", {}, NIELSEN),
    ("convnet", "fast_convnet", "", {}, OURS),
    ("convnet", "normalised_convnet", "", {}, OURS),
    ("alexnet", "alexnet", "", {}, KRIZHEVSKY_2012),
    ("alexnet", "alexnet", "1 group", {"groups": 1}, KRIZHEVSKY_2012),
    ("alexnet", "alexnet_owt", "", {}, KRIZHEVSKY_2014),
    *(("vgg", f"vgg{depth}", "", {}, SIMONYAN) for depth in (11, 13, 16, 19)),
    *(("vgg", f"vgg{depth}", "normalised", {"batch_norm": True}, IOFFE) for depth in (11, 13, 16, 19)),
    ("googlenet", "googlenet", "", {}, SZEGEDY),
    ("googlenet", "googlenet", "auxiliary", {"auxiliary": True}, SZEGEDY),
    ("googlenet", "googlenet", "normalised", {"batch_norm": True}, IOFFE),
    *(("resnet", f"resnet{depth}", "", {}, HE) for depth in (18, 34, 50, 101, 152)),
    *(("resnet", f"resnet{depth}", "v1.5", {"version": "v1.5"}, GOYAL) for depth in (50, 101, 152)),
    *(("resnet", f"resnet{depth}", "v2", {"version": "v2"}, HE_V2) for depth in (18, 34, 50, 101, 152)),
    ("resnet", "plain18", "", {}, HE),
    ("resnet", "plain34", "", {}, HE),
    *(("resnet", "resnet_cifar", f"depth {depth}", {"depth": depth}, HE)
      for depth in (20, 32, 44, 56, 110, 1202)),
    ("resnet", "resnet_cifar", "preactivated, depth 164", {"depth": 164, "version": "preactivation"}, HE_V2),
    *(("resnet", "plain_cifar", f"depth {depth}", {"depth": depth}, HE) for depth in (20, 56)),
    *(("densenet", f"densenet{depth}", "", {}, HUANG) for depth in (121, 161, 169, 201, 264)),
    *(("densenet", "densenet_cifar", f"L {depth}, k {rate}", {"depth": depth, "growth_rate": rate}, HUANG)
      for depth, rate in ((40, 12), (100, 12), (100, 24))),
    *(("densenet", "densenet_cifar", f"L {depth}, k {rate}, BC", {"depth": depth, "growth_rate": rate, **BC},
       HUANG) for depth, rate in ((100, 12), (250, 24), (190, 40))),
    ("resnet", "resnet9", "", {}, PAGE),
    ("airbench", "airbench94", "", {}, JORDAN),
    ("one_shot", "siamese", "", {}, KOCH),
    ("one_shot", "prototypical", "", {}, SNELL),
    ("recurrent", "recurrent_classifier", "LSTM 128, pixel by pixel",
     {"input_shape": [784, 1], "num_classes": 10}, HOCHREITER),
    ("recurrent", "recurrent_language_model", "2 x LSTM 128, 50 steps", {"vocabulary": 65, "steps": 50},
     KARPATHY),
    ("ctc", "blstm_ctc", "300 frames", {"input_shape": [300, 123]}, GRAVES),
    ("multidimensional_lstm", "multidimensional_lstm", "32x96",
     {"input_shape": [32, 96, 1], "num_classes": 10},
     SCHMIDHUBER),
    ("multidimensional_lstm", "columns_blstm", "28x128", {"input_shape": [28, 128, 1], "num_classes": 10},
     OURS),
    ("speech", "commands_convnet", "", {}, SAINATH),
    ("speech", "word_convnet", "98x40", {"input_shape": [98, 40], "num_classes": 10}, OURS),
]


@dataclasses.dataclass(frozen=True)
class Network:
    """A builder with some arguments, and the counts of models.complexity at its default input."""
    name: str                    # the builder's, and what sets this network apart from its default
    module: str                  # "resnet" for models.resnet
    builder: str
    arguments: dict
    paper: str
    year: int
    input_shape: tuple
    parameters: int
    trainable_parameters: int
    multiply_adds: int           # per example
    activations: int             # elements per example
    depth: int

    def build(self, **more):
        """The keras.Model, by the builder with these arguments and more of them."""
        builder = getattr(importlib.import_module(f"models.{self.module}"), self.builder)
        return builder(**{**self.arguments, **more})


def catalog(match="*"):
    """The Networks whose builder or name matches a shell pattern, in the order of their history.

    Raises ValueError, with the nearest names, if none does.
    """
    stored = json.loads(MEASURED.read_text())
    found = [Network(name, module, builder, arguments, paper, year,
                     **{**stored[name], "input_shape": tuple(stored[name]["input_shape"])})
             for name, module, builder, arguments, (paper, year) in named()
             if any(fnmatch.fnmatchcase(word, match) for word in (builder, name))]
    if not found:
        builders = sorted({builder for _, _, builder, _, _ in named()})
        near = difflib.get_close_matches(match.strip("*"), builders, n=3, cutoff=0.5) or builders
        raise ValueError(f"no network matches {match!r}. Nearest: {', '.join(near)}.")
    return found


def named():
    """NETWORKS as (name, module, builder, arguments, (paper, year))."""
    return [(f"{builder} {variant}".strip(), module, builder, arguments, paper)
            for module, builder, variant, arguments, paper in NETWORKS]


def measured(module, builder, arguments):
    """The COUNTS of a network, from the network itself."""
    import keras

    from models.complexity import complexity
    with keras.StatelessScope(initialize_variables=False):       # shapes are enough
        model = getattr(importlib.import_module(f"models.{module}"), builder)(**arguments)
    counted = complexity(model)
    shape = model.input_shape if isinstance(model.input_shape, tuple) else model.input_shape[0]
    return {"input_shape": list(shape[1:]),
            **{name: getattr(counted, name) for name in COUNTS[1:]}}


def measure():
    """Writes MEASURED anew, from every network: a few minutes."""
    rows = {name: measured(module, builder, arguments) for name, module, builder, arguments, _ in named()}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    MEASURED.write_text(f"{{\n{lines}\n}}\n")


def table(networks):
    """The networks as lines of text, aligned."""
    titles = ("network", "input", "parameters", "multiply-adds", "activations", "depth", "year", "paper")
    rows = [titles, *((network.name, "x".join(map(str, network.input_shape)), f"{network.parameters:,}",
                       f"{network.multiply_adds:,}", f"{network.activations:,}", str(network.depth),
                       str(network.year), network.paper) for network in networks)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numbers = range(2, 6)
    lines = ["  ".join(cell.rjust(width) if column in numbers else cell.ljust(width)
                       for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
             for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
