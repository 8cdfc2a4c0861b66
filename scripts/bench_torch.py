"""The other side of the benchmarks: the same networks and losses as a plain PyTorch training loop.

One method after another, the teacher's forward pass in every step of each, as the repositories of the field do it:
SGD with momentum and weight decay, a random crop and a flip of each image. Networks and losses are those of kdjax in
PyTorch's own terms.
"""

import dataclasses
import itertools
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


# ---- networks: each returns (logits [B, K], maps after the activation [[B, C, H, W], ...], embedding [B, D])


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
        changes = stride > 1 or inputs != width
        self.shortcut = nn.Sequential(conv(inputs, width, 1, stride), nn.BatchNorm2d(width)) if changes else None

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.shortcut(x) if self.shortcut else x))


class ResNet(nn.Module):
    """A residual network for small images: a stem, then stages that halve the image from the second on."""

    def __init__(self, blocks: tuple, widths: tuple, stem: int, classes: int):
        super().__init__()
        self.conv1, self.bn1 = conv(3, stem, 3), nn.BatchNorm2d(stem)
        inputs, stages = [stem, *widths], []
        for stage, (number, width) in enumerate(zip(blocks, widths, strict=True)):
            first = Block(inputs[stage], width, 2 if stage else 1)
            stages.append(nn.Sequential(first, *(Block(width, width, 1) for _ in range(number - 1))))
        self.stages = nn.ModuleList(stages)
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, x):
        maps = [F.relu(self.bn1(self.conv1(x)))]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        embedding = maps[-1].mean((2, 3))
        return self.classifier(embedding), maps, embedding


class ConvNet(nn.Module):
    """3x3 convolution, BatchNorm and ReLU a stage; every stage but the first halves the image."""

    def __init__(self, widths: tuple, classes: int, channels: int = 1):
        super().__init__()
        pairs = list(itertools.pairwise((channels, *widths)))
        self.convs = nn.ModuleList(conv(a, b, 3, 2 if stage else 1) for stage, (a, b) in enumerate(pairs))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, x):
        maps = []
        for layer, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(layer(x)))
            maps.append(x)
        embedding = x.mean((2, 3))
        return self.classifier(embedding), maps, embedding


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


RESNETS = {  # blocks, widths, stem
    "resnet8": ((1, 1, 1), (16, 32, 64), 16),
    "resnet20": ((3, 3, 3), (16, 32, 64), 16),
    "resnet56": ((9, 9, 9), (16, 32, 64), 16),
    "resnet8x4": ((1, 1, 1), (64, 128, 256), 32),
    "resnet32x4": ((5, 5, 5), (64, 128, 256), 32),
}


def build(name: str, classes: int) -> nn.Module:
    return ConvNet((16, 32, 64), classes, 3) if name == "convnet" else ResNet(*RESNETS[name], classes)


# ---- losses: fn(student, teacher, labels) of two networks' results; defaults and formulas are those of kdjax.losses


def student(s, t, labels):
    return F.cross_entropy(s[0], labels)


def hard_target(s, t, labels):
    return 0.5 * F.cross_entropy(s[0], labels) + 0.5 * F.cross_entropy(s[0], t[0].argmax(1))


def kl(s, t, temperature):
    """[B]"""
    p = F.log_softmax(t / temperature, 1)
    return temperature**2 * F.kl_div(F.log_softmax(s / temperature, 1), p, log_target=True, reduction="none").sum(1)


def kd(s, t, labels):
    return 0.1 * F.cross_entropy(s[0], labels) + 0.9 * kl(s[0], t[0], 4.0).mean()


def binary_kd(s, t, labels):
    return F.cross_entropy(s[0], labels) + F.binary_cross_entropy_with_logits(s[0], F.softmax(t[0], 1))


def logit_mse(s, t, labels):
    return F.cross_entropy(s[0], labels) + F.mse_loss(s[0], t[0])


def dkd(s, t, labels):
    target = F.one_hot(labels, s[0].shape[1]).bool()
    s_scaled, t_scaled = s[0] / 4, t[0] / 4
    p, q = (torch.stack([x[target], x.masked_fill(target, -1e9).logsumexp(1)], 1) for x in (s_scaled, t_scaled))
    decided = F.kl_div(F.log_softmax(p, 1), F.log_softmax(q, 1), log_target=True, reduction="none").sum(1)
    rest = kl(s_scaled.masked_fill(target, -1e9), t_scaled.masked_fill(target, -1e9), 1.0)
    return F.cross_entropy(s[0], labels) + 16 * (decided + 8 * rest).mean()


def dist(s, t, labels):
    p, q = (F.softmax(x[0] / 4, 1) for x in (s, t))
    differences = sum(1 - F.cosine_similarity(*(x - x.mean(d, keepdim=True) for x in (p, q)), d).mean() for d in (0, 1))
    return F.cross_entropy(s[0], labels) + 2 * 16 * differences


def attention(s, t, labels, weight=1000.0):
    total = 0.0
    for a, b in zip(s[1][1:], t[1][1:], strict=True):
        total = total + F.mse_loss(*(F.normalize(x.square().mean(1).flatten(1)) for x in (a, b)))
    return F.cross_entropy(s[0], labels) + weight * total


def similarity(s, t, labels):
    products = (x[1][-1].flatten(1) for x in (s, t))
    return F.cross_entropy(s[0], labels) + 3000 * F.mse_loss(*(F.normalize(x @ x.T) for x in products))


def rkd(s, t, labels, weight=1.0):
    differences = [x[2][None] - x[2][:, None] for x in (s, t)]
    distances = (x.square().sum(2).clamp(min=1e-12).sqrt() for x in differences)
    distance = F.smooth_l1_loss(*(x / x.sum() * len(x) * (len(x) - 1) for x in distances))
    directions = (F.normalize(x, dim=2) for x in differences)
    angle = F.smooth_l1_loss(*(torch.bmm(x, x.transpose(1, 2)) for x in directions))
    return F.cross_entropy(s[0], labels) + weight * (25 * distance + 50 * angle)


def pkt(s, t, labels, weight=30000.0):
    units = (F.normalize(x[2]) for x in (s, t))
    p, q = (x / x.sum(1, keepdim=True) for x in ((u @ u.T + 1) / 2 for u in units))
    return F.cross_entropy(s[0], labels) + weight * (q * ((q + 1e-7) / (p + 1e-7)).log()).mean()


class FitNet(nn.Module):
    """A regressor between two maps, trained with the student."""

    def __init__(self, inputs: int, outputs: int, layer: int, weight: float = 100.0):
        super().__init__()
        self.regressor = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())
        self.layer, self.weight = layer, weight

    def forward(self, s, t, labels):
        hint = self.regressor(s[1][self.layer])
        return F.cross_entropy(s[0], labels) + self.weight * F.mse_loss(hint, t[1][self.layer])


LOSSES = {
    loss.__name__: loss
    for loss in (student, hard_target, kd, binary_kd, logit_mse, dkd, dist, attention, similarity, rkd, pkt)
}


# ---- data


class Images(torch.utils.data.Dataset):
    """uint8 images [N, C, H, W], each cropped, flipped and normalised when asked for, as the repositories do."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, mean, std, padding: int, flip: bool):
        self.images = images.transpose(0, 3, 1, 2)
        self.labels, self.padding, self.flip = labels.astype(np.int64), padding, flip
        self.mean, self.std = (np.asarray(x, np.float32).reshape(-1, 1, 1) for x in (mean, std))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image, n = self.images[i], self.padding
        if n:
            top, left = torch.randint(0, 2 * n + 1, (2,)).tolist()
            image = np.pad(image, ((0, 0), (n, n), (n, n)))
            image = image[:, top : top + self.images.shape[2], left : left + self.images.shape[3]]
        if self.flip and torch.rand(()) < 0.5:
            image = image[:, :, ::-1]
        return (image.astype(np.float32) / 255 - self.mean) / self.std, self.labels[i]


class Resident:
    """The same batches from images that lie on the device; a crop and a flip are indices there."""

    def __init__(self, data: Images, batch_size: int, device: str):
        self.images, self.labels = (torch.as_tensor(x.copy(), device=device) for x in (data.images, data.labels))
        self.mean, self.std = (torch.as_tensor(x, device=device) for x in (data.mean, data.std))
        self.data, self.batch_size, self.device = data, batch_size, device

    def __iter__(self):
        order = torch.randperm(len(self.labels), device=self.device)
        for index in order[: len(order) // self.batch_size * self.batch_size].split(self.batch_size):
            yield (self._augmented(self.images[index]) / 255 - self.mean) / self.std, self.labels[index]

    def _augmented(self, image):
        batch, _, height, width = image.shape
        n, device = self.data.padding, self.device
        rows = torch.arange(height, device=device) + torch.randint(0, 2 * n + 1, (batch, 1), device=device)
        columns = torch.arange(width, device=device) + torch.randint(0, 2 * n + 1, (batch, 1), device=device)
        if self.data.flip:
            columns = torch.where(torch.rand(batch, 1, device=device) < 0.5, columns.flip(1), columns)
        padded, examples = F.pad(image, (n, n, n, n)), torch.arange(batch, device=device)
        cropped = padded[examples[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # [B, H, W, C]
        return cropped.permute(0, 3, 1, 2).float()


@dataclasses.dataclass(frozen=True)
class Options:
    """How PyTorch is run: the defaults are what the repositories do."""

    device: str = "cpu"
    compiled: str = ""  # the backend of torch.compile, "inductor"; "": eager
    channels_last: bool = False
    mixed: bool = False  # bfloat16 where autocast chooses it
    resident: bool = False  # images on the device, augmented there
    workers: int = 0  # processes that augment
    watched: bool = True  # the loss of every step is fetched, as the repositories' progress bars do


def loader(data: Images, batch_size: int, options: Options):
    if options.resident:
        return Resident(data, batch_size, options.device)
    return torch.utils.data.DataLoader(
        data,
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
        pin_memory=options.device != "cpu",
    )


# ---- the loop


class Training:
    """One method's training; `step(image, label)` is what an iteration of the loop does."""

    def __init__(self, loss, student, teacher, options: Options, learning_rate=0.05, weight_decay=5e-4):
        self.options = options
        layout = torch.channels_last if options.channels_last else torch.contiguous_format
        self.student = student.to(options.device, memory_format=layout)
        self.teacher = teacher.to(options.device, memory_format=layout).eval() if teacher else None
        self.loss = loss.to(options.device) if isinstance(loss, nn.Module) else loss
        parameters = [*student.parameters(), *(loss.parameters() if isinstance(loss, nn.Module) else ())]
        self.optimizer = torch.optim.SGD(parameters, learning_rate, momentum=0.9, weight_decay=weight_decay)
        # Network by network, so that what is compiled for one method's serves the others.
        made = partial(torch.compile, backend=options.compiled) if options.compiled else lambda network: network
        self.learn, self.teach = made(self.student), made(self.teacher) if teacher else None
        self.objective = made(self.objective)

    def objective(self, s, t, label) -> torch.Tensor:
        return self.loss(s, t, label)

    def forward(self, image, label) -> torch.Tensor:
        with torch.autocast(self.options.device, torch.bfloat16, enabled=self.options.mixed):
            with torch.no_grad():
                taught = self.teach(image) if self.teach is not None else None
            return self.objective(self.learn(image), taught, label)

    def step(self, image, label) -> torch.Tensor:
        layout = torch.channels_last if self.options.channels_last else torch.contiguous_format
        image = image.to(self.options.device, non_blocking=True, memory_format=layout)
        loss = self.forward(image, label.to(self.options.device, non_blocking=True))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def synchronize(options: Options) -> None:
    if options.device != "cpu":
        torch.cuda.synchronize()


def training(
    name: str,
    student: nn.Module,
    teacher: nn.Module,
    options: Options,
    weight: float | None = None,
    made: type[Training] = Training,
) -> Training:
    """The training of a method by its name; `weight`, of the distillation term, is the papers' when None."""
    given = {} if weight is None else {"weight": weight}
    if name == "fitnet":
        layer = 2
        inputs, outputs = (widths(network)[layer] for network in (student, teacher))
        return made(FitNet(inputs, outputs, layer, **given), student, teacher, options)
    return made(partial(LOSSES[name], **given) if given else LOSSES[name], student, teacher, options)


def widths(network: nn.Module) -> list[int]:
    """Channels of the maps that a network returns."""
    first = network.conv1 if isinstance(network, ResNet) else network.convs[0]
    rest = (stage[0].conv1 for stage in network.stages) if isinstance(network, ResNet) else network.convs[1:]
    return [layer.out_channels for layer in (first, *rest)]


def train(training: Training, data, steps: int) -> None:
    """So many steps of the loop."""
    training.student.train()
    batches, total = iter(data), 0.0
    for _ in range(steps):
        batch = next(batches, None)
        if batch is None:
            batches = iter(data)
            batch = next(batches)
        loss = training.step(*batch)
        total += loss.item() if training.options.watched else loss
    synchronize(training.options)


def whole(split, config) -> tuple[torch.Tensor, torch.Tensor]:
    """A split's images, normalised, and labels."""
    images = Images(split.input, split.target, config.mean, config.std, 0, False)
    image, label = zip(*images, strict=True)
    return torch.as_tensor(np.stack(image)), torch.as_tensor(np.stack(label))


@torch.no_grad()
def accuracy(network: nn.Module, image, label) -> float:
    network.eval()
    return float((network(image)[0].argmax(1) == label).float().mean())
