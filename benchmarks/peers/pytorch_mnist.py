"""PyTorch's examples/mnist/main.py, run until the test accuracy reaches a target.

Source: github.com/pytorch/examples, mnist/main.py: network, Adadelta at 1.0, StepLR with gamma
.7, batches of 64 and 1,000, 14 epochs. In its favour, and unlike the example, all images are
normalised once and a batch is one indexing of that tensor: the example decodes and normalises
each image anew in every epoch. Nothing is printed within an epoch.
Run: python pytorch_mnist.py MNIST.npz [--target .99] [--epochs 14] [--examples N]
Prints one JSON line per epoch: epoch, test_accuracy, seconds spent on that evaluation.
"""
import argparse
import json
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.optim.lr_scheduler import StepLR


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return F.log_softmax(self.fc2(self.dropout2(x)), dim=1)


def images(array):
    return ((torch.from_numpy(array).float() / 255 - 0.1307) / 0.3081).unsqueeze(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--target", type=float, default=0.99)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--examples", type=int)            # the first so many training images
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    with np.load(arguments.data) as file:
        x_train = images(file["x_train"][:arguments.examples])
        y_train = torch.from_numpy(file["y_train"][:arguments.examples])
        x_test, y_test = images(file["x_test"]), torch.from_numpy(file["y_test"])
    model = Net()
    optimizer = optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
    for epoch in range(1, arguments.epochs + 1):
        model.train()
        for rows in torch.randperm(len(x_train)).split(64):
            optimizer.zero_grad()
            F.nll_loss(model(x_train[rows]), y_train[rows]).backward()
            optimizer.step()
        started = time.perf_counter()
        model.eval()
        with torch.no_grad():
            right = sum((model(x).argmax(1) == y).sum().item()
                        for x, y in zip(x_test.split(1000), y_test.split(1000), strict=True))
        accuracy = right / len(x_test)
        print(json.dumps({"epoch": epoch, "test_accuracy": accuracy,
                          "evaluation_seconds": time.perf_counter() - started}), flush=True)
        if accuracy >= arguments.target:
            break
        scheduler.step()


if __name__ == "__main__":
    main()
