"""DIST: Huang et al. (2022), "Knowledge Distillation from A Stronger Teacher", eqs. 8 to 10."""

import torch.nn.functional as F

import logitcache


def pearson(x, y):
    """The correlation of each row of x with that row of y."""
    x = x - x.mean(dim=1, keepdim=True)
    y = y - y.mean(dim=1, keepdim=True)
    return F.cosine_similarity(x, y, dim=1)


class Dist(logitcache.Term):
    def __init__(self, beta=1.0, gamma=1.0):
        self.beta = beta
        self.gamma = gamma

    def __call__(self, logits, labels, teacher):
        student, teacher = logits.softmax(1), teacher.softmax(1)
        between = 1 - pearson(student, teacher)  # of the classes of each row: [P]
        within = (1 - pearson(student.T, teacher.T)).mean()  # of the rows, for each class
        label = F.cross_entropy(logits, labels, reduction="none", ignore_index=-1)
        return label + self.beta * between + self.gamma * within
