"""How well scores rank what is true before what is not."""

from collections.abc import Sequence


def auroc(values: Sequence[float], labels: Sequence[bool]) -> float:
    """Returns the probability that a true one has a larger score than a false one; of equal ones one half.

    Example:
        >>> auroc([3.0, 2.0, 1.0, 1.0], [True, False, True, False])
        0.625
    """
    true = [value for value, label in zip(values, labels, strict=True) if label]
    false = [value for value, label in zip(values, labels, strict=True) if not label]
    wins = sum((a > b) + (a == b) / 2 for a in true for b in false)
    return wins / (len(true) * len(false)) if true and false else float("nan")


def average_precision(values: Sequence[float], labels: Sequence[bool]) -> float:
    """Returns the mean over true ones of the share of true ones among those with no smaller a score.

    Example:
        >>> average_precision([3.0, 2.0, 1.0], [True, False, True])
        0.8333333333333333
    """
    pairs = list(zip(values, labels, strict=True))
    true = [value for value, label in pairs if label]
    shares = [
        sum(label for value, label in pairs if value >= one) / sum(value >= one for value, _ in pairs) for one in true
    ]
    return sum(shares) / len(shares)
