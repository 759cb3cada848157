"""airbench94 in PyTorch, written after the paper: CIFAR-10 to 94 % on one GPU.

Source: Jordan 2024, arXiv:2404.00498, sections 2 and 3: network, rates, decay, alternating flip,
translation, Lookahead and the six views of a test image, in half precision and channels-last, all
data on the device. The first run, on the same data, warms up and is left out, as the authors do.
Run: python pytorch_airbench.py CIFAR10.npz [--seeds 3] [--compile] [--epochs 9.9] [--device cuda]
CIFAR10.npz: x_train, x_test uint8 (N, 32, 32, 3), y_train, y_test. Prints one JSON line per run: seed,
seconds of whitening, training and the evaluation of all views, test_accuracy.
"""
import argparse
import json
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
RATE, DECAY, MOMENTUM, BIAS_RATE, SMOOTHING = 11.5, 0.0153, 0.85, 64.0, 0.2     # per 1,024 examples
BIAS_EPOCHS, EVERY, PAD = 3, 5, 2


class Group(nn.Module):
    """Two convolutions, the first one pooled, each normalised with an offset alone."""

    def __init__(self, before, width):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, padding="same", bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding="same", bias=False)
        self.norm1, self.norm2 = (nn.BatchNorm2d(width, eps=1e-12, momentum=0.4) for _ in range(2))
        for convolution in (self.conv1, self.conv2):
            maps = convolution.weight.shape[1]
            torch.nn.init.dirac_(convolution.weight.data[:maps])
        for norm in (self.norm1, self.norm2):
            norm.weight.requires_grad = False

    def forward(self, x):
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class Network(nn.Module):
    def __init__(self, widths=(64, 256, 256)):
        super().__init__()
        self.whitening = nn.Conv2d(3, 24, 2, bias=True)
        self.whitening.weight.requires_grad = False
        self.groups = nn.Sequential(*(Group(a, b) for a, b in zip((24, *widths), widths, strict=False)))
        self.head = nn.Linear(widths[-1], 10, bias=False)

    def forward(self, x):
        x = self.groups(F.gelu(self.whitening(x)))
        return self.head(F.max_pool2d(x, 3).flatten(1)) / 9

    def whiten(self, images, epsilon=5e-4):
        patches = F.unfold(images.float(), 2).transpose(1, 2).reshape(-1, 12)
        variances, components = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (components / torch.sqrt(variances + epsilon)).T.flip(0).reshape(12, 3, 2, 2)
        self.whitening.weight.data[:] = torch.cat([filters, -filters])
        self.whitening.bias.data.zero_()


class Loader:
    """Batches of one epoch after another, flipped and moved on the device; the last part of one is left."""

    def __init__(self, images, labels, batch_size):
        self.labels, self.batch_size = labels, batch_size
        mirrored = torch.rand(len(images), device=images.device) < 0.5
        self.images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        self.padded = F.pad(self.images, (PAD,) * 4, "reflect")

    def __len__(self):
        return len(self.images) // self.batch_size

    def epoch(self, number):
        size, count, device = self.images.shape[2], len(self.images), self.images.device
        moves = torch.randint(0, 2 * PAD + 1, (2, count), device=device)
        rows = moves[0][:, None] + torch.arange(size, device=device)
        columns = moves[1][:, None] + torch.arange(size, device=device)
        everything = torch.arange(count, device=device)[:, None, None]
        images = self.padded.permute(0, 2, 3, 1)[everything, rows[:, :, None], columns[:, None, :]]
        images = images.permute(0, 3, 1, 2)                       # channels-last in memory
        if number % 2:
            images = images.flip(3)
        for rows in torch.randperm(count, device=device).split(self.batch_size)[:len(self)]:
            yield images[rows], self.labels[rows]


class Lookahead:
    def __init__(self, model):
        self.slow = {name: value.clone() for name, value in model.state_dict().items()}

    def step(self, model, kept):
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.slow[name].lerp_(value, 1 - kept)
                value.copy_(self.slow[name])


def views(model, images):
    def both(x):
        return model(x) + model(x.flip(3))
    padded = F.pad(images, (1,) * 4, "reflect")
    moved = both(padded[:, :, :32, :32]) + both(padded[:, :, 2:34, 2:34])
    return 0.5 * both(images) / 2 + 0.5 * moved / 4


def trained(model, call, data, epochs, batch_size):
    """Trains a network that was just made, and returns its accuracy on the test set."""
    x_train, y_train, x_test, y_test = data
    model.whiten(x_train[:5000])
    loader = Loader(x_train, y_train, batch_size)
    total = round(epochs * len(loader))
    scale = 1024 * (1 + 1 / (1 - MOMENTUM))                       # of the summed loss
    rate, decay = RATE / scale, DECAY * batch_size / scale
    offsets = [value for name, value in model.named_parameters() if "norm" in name and value.requires_grad]
    others = [value for name, value in model.named_parameters()
              if "norm" not in name and value.requires_grad]
    optimizer = torch.optim.SGD(
        [{"params": offsets, "lr": rate * BIAS_RATE, "weight_decay": decay / (rate * BIAS_RATE)},
         {"params": others, "lr": rate, "weight_decay": decay / rate}], momentum=MOMENTUM, nesterov=True)

    def part(step):
        rise = 0.23 * total
        return 0.2 + 0.8 * step / rise if step < rise else 1 - 0.93 * (step - rise) / (total - rise)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, part)
    lookahead, step, epoch = Lookahead(model), 0, 0
    while step < total:
        model.train()
        model.whitening.bias.requires_grad = epoch < BIAS_EPOCHS
        for images, labels in loader.epoch(epoch):
            loss = F.cross_entropy(call(images), labels, label_smoothing=SMOOTHING, reduction="none").sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            if step % EVERY == 0 and step < total:
                lookahead.step(model, 0.95 ** 5 * (step / total) ** 3)
            if step == total:
                lookahead.step(model, 1.0)
                break
        epoch += 1
    model.eval()
    with torch.no_grad():
        logits = torch.cat([views(model, images) for images in x_test.split(2000)])
    return (logits.argmax(1) == y_test).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=9.9)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--examples", type=int)                # the first so many training images
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    half = torch.float16 if arguments.device == "cuda" else torch.float32
    torch.backends.cudnn.benchmark = True

    def images(array):
        values = torch.from_numpy(array).to(arguments.device).float() / 255
        mean, std = (torch.tensor(each, device=arguments.device) for each in (MEAN, STD))
        return ((values - mean) / std).permute(0, 3, 1, 2).to(half).contiguous(
            memory_format=torch.channels_last)
    with np.load(arguments.data) as file:
        count = arguments.examples
        data = (images(file["x_train"][:count]),
                torch.from_numpy(file["y_train"][:count].astype("int64")).to(arguments.device),
                images(file["x_test"]), torch.from_numpy(file["y_test"].astype("int64")).to(arguments.device))
    model, call = None, None
    for seed in range(-1, arguments.seeds):                    # the first one warms up
        torch.manual_seed(seed + 1)
        fresh = Network().to(arguments.device).to(half).to(memory_format=torch.channels_last)
        for module in fresh.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.float()
        if model is None:
            model = fresh
            call = torch.compile(model) if arguments.compile else model
        else:
            model.load_state_dict(fresh.state_dict())
        if arguments.device == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        accuracy = trained(model, call, data, arguments.epochs, arguments.batch_size)
        if arguments.device == "cuda":
            torch.cuda.synchronize()
        if seed >= 0:
            print(json.dumps({"seed": seed, "seconds": round(time.perf_counter() - started, 3),
                              "test_accuracy": round(accuracy, 4)}), flush=True)


if __name__ == "__main__":
    main()
