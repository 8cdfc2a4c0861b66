"""PyTorch with the schedule of work of HobbitLong/RepDistiller (helper/loops.py, train_distill), in own words.

An iteration of it: forward pass of the student, then of the teacher without gradients; cross entropy, the divergence
of KD whatever the method and its weight, the method's own loss; top-1 and top-5 accuracy of the batch; the loss
fetched for the meters; then the gradient and the optimizer. It differs from the plain loop in what is computed beside
the loss.
"""

import bench_torch as plain
import torch
from torch import nn

METHODS = ("kd", "fitnet", "attention", "similarity", "rkd")


class Distilling(plain.Training):
    """One method's training."""

    def objective(self, s, t, label) -> torch.Tensor:
        total = self.loss(s, t, label)  # of kd it is the divergence itself
        if self.loss is not plain.kd:
            total = total + 0.0 * plain.kl(s[0], t[0], 4.0).mean()
        self.meters = self.accuracy(s[0].detach(), label)
        return total

    @staticmethod
    def accuracy(logits, label) -> list[float]:
        """Percent of top 1 and top 5, fetched as the meters do."""
        right = logits.topk(5, 1).indices.eq(label[:, None])
        return [100 * right[:, :k].any(1).float().mean().item() for k in (1, 5)]


def training(name: str, student: nn.Module, teacher: nn.Module, options: plain.Options) -> Distilling:
    return plain.training(name, student, teacher, options, made=Distilling)
