"""Accuracy against operations, with area for parameters, after Canziani et al. 2017, arXiv:1605.07678."""
from pathlib import Path

# Top-1 accuracy in % on ImageNet's validation images, one central crop of 224x224, of the weights
# IMAGENET1K_V1: torchvision 0.28, the table of its documentation. By name in the catalogue.
ACCURACIES = {
    "alexnet_owt": 56.522, "vgg16": 71.592, "vgg16 normalised": 73.36, "vgg19": 72.376,
    "googlenet normalised": 69.778, "resnet18": 69.758, "resnet34": 73.314, "resnet50 v1.5": 76.13,
    "resnet101 v1.5": 77.374, "resnet152 v1.5": 78.312, "densenet121": 74.434, "densenet161": 77.138,
    "densenet169": 75.6, "densenet201": 76.896}
COLORS = {"alexnet": "tab:gray", "vgg": "tab:purple", "googlenet": "tab:green", "resnet": "tab:blue",
          "densenet": "tab:orange"}
AREA = 12e-6                     # square points per parameter
# Where labels would lie on each other: their place, in points from the middle of the circle.
PLACES = {"vgg16": (0, -32), "vgg16 normalised": (0, 29), "vgg19": (0, -32), "resnet18": (13, -3),
          "googlenet normalised": (-6, 10), "densenet121": (-66, -3), "densenet169": (-68, -3),
          "densenet201": (-44, 12), "densenet161": (-6, -20), "resnet50 v1.5": (14, -8),
          "resnet152 v1.5": (0, 20)}


def plot(networks, path):
    """Draws the networks that ACCURACIES has into a picture file; the ending of path names its format.

    Operations are multiplications and additions, so twice the multiply-adds, as in the paper.
    Raises ValueError if there is no accuracy for any of them, or the format is not known.
    """
    from matplotlib.figure import Figure
    known = [network for network in networks if network.name in ACCURACIES]
    if not known:
        raise ValueError("there is no accuracy to draw for these networks. There is one for "
                         f"{', '.join(ACCURACIES)}.")
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    for network in sorted(known, key=lambda network: -network.parameters):       # small ones in front
        x, y = 2e-9 * network.multiply_adds, ACCURACIES[network.name]
        axes.scatter(x, y, s=AREA * network.parameters, color=COLORS[network.module], alpha=0.55,
                     edgecolors="black", linewidths=0.6)
        axes.annotate(network.name, (x, y), PLACES.get(network.name, (12, 8)), textcoords="offset points",
                      fontsize=8, ha="center" if PLACES.get(network.name, (1, 0))[0] == 0 else "left")
    handles = [axes.scatter([], [], s=AREA * 1e6 * millions, color="white", edgecolors="black",
                            label=f"{millions} M") for millions in (5, 25, 65, 140)]
    axes.legend(handles=handles, title="parameters", loc="lower right", labelspacing=3.0, borderpad=2.0,
                handletextpad=2.2, frameon=False)
    axes.set_xlabel("operations for one image of 224x224 [10⁹]")
    axes.set_ylabel("top-1 accuracy [%]")
    axes.set_title("ImageNet: accuracy against operations (accuracies: torchvision)", fontsize=10)
    axes.margins(0.08, 0.12)
    axes.grid(alpha=0.25)
    supported = figure.canvas.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in supported:
        raise ValueError(f"a plot can be {', '.join(sorted(supported))}. Received: {path}")
    figure.savefig(path, dpi=150)
