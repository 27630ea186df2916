"""What theory says about the best possible results: the references of the metrics."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from stages.shared.moments import chunk_rows, iter_chunks
from stages.shared.scaling import Scaling


def design_matrix(x: np.ndarray, bias: bool) -> np.ndarray:
    """Return x, (n,) or (n, n_features), as float64 columns; with `bias` also a column of ones."""
    columns = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    return np.column_stack([columns, np.ones(len(x))]) if bias else columns


def design_rows(n_columns: int) -> int:
    """Return how many rows of a design matrix a chunk has: never fewer than columns.

    So a matrix wider than high is one chunk, which no decomposition would make smaller.
    """
    return max(chunk_rows(n_columns), n_columns)


def design_chunks(
    x: Tensor | np.ndarray, bias: bool, scaling: Scaling | None = None
) -> Iterator[np.ndarray]:
    """Yield chunks of the design matrix of x, (n,) or (n, n_features), after `scaling`."""
    for chunk in iter_chunks(x, design_rows(math.prod(x.shape[1:]) + bias)):
        yield design_matrix(chunk if scaling is None else scaling.transform(chunk), bias)


def least_squares(
    x: np.ndarray, y: np.ndarray, bias: bool = False, rcond: float | None = None
) -> np.ndarray:
    """Return the coefficients that minimize sum((y - y_hat)^2): the weights, then the bias.

    `x` has shape (n,) or (n, n_features), `y` (n,). See solve_least_squares.
    """
    return solve_least_squares([(design_matrix(x, bias), np.asarray(y, np.float64))], rcond)


def solve_least_squares(
    chunks: Iterable[tuple[np.ndarray, np.ndarray]], rcond: float | None = None
) -> np.ndarray:
    """Return the c that minimizes |A c - y|^2, (n_columns,), from chunks of rows (A, y).

    The coefficients solve A^T A c = A^T y, where A is the design matrix; one weight without a bias
    is w = sum(x y) / sum(x^2). If there are several solutions, the one with the smallest norm is
    returned. Singular values of A below `rcond` times the largest one count as 0; None stands for
    rounding errors: the precision of float64 times the number of rows in a chunk, of columns or of
    chunks, whichever is largest. For one chunk that is PyTorch's own threshold.

    Several chunks are reduced to the triangle R of the QR decomposition of [A, y], which has the
    same solutions and singular values: R of the rows so far above the next chunk has the same R as
    all of them.
    """
    parts = ((torch.from_numpy(A), torch.from_numpy(y)[:, None]) for A, y in chunks)
    A, column = next(parts)
    (n_rows, n_columns), n_chunks = A.shape, 1
    for part in parts:
        rows = torch.cat([torch.cat([A, column], dim=1), torch.cat(part, dim=1)])
        A, column = torch.linalg.qr(rows, mode="r").R.split([n_columns, 1], dim=1)
        n_chunks += 1
    if rcond is None:
        rcond = torch.finfo(torch.float64).eps * max(n_rows, n_columns, n_chunks)
    # PyTorch's takes 1 s for 1200 rows of 3000 features, NumPy's 13 s.
    return torch.linalg.lstsq(A, column, rcond, driver="gelsd").solution[:, 0].numpy()


def largest_stable_lr(
    x: Tensor | np.ndarray, loss_reduction: str, bias: bool = False, scaling: Scaling | None = None
) -> float:
    """Return the learning rate from which plain SGD on the squared error diverges.

    `x` has shape (n,) or (n, n_features), and is standardized by `scaling` first. Along an
    eigenvector of A^T A, where A is the design matrix, a step multiplies the distance to least
    squares by 1 - 2 lr e, with e the eigenvalue, or by 1 - 2 lr e / n if the loss is reduced by
    "mean". The distance shrinks while that factor is above -1. For one weight without a bias e is
    sum(x^2).
    """
    curvature = largest_curvature(design_chunks(x, bias, scaling))
    if not curvature:
        return math.inf  # all features are zero
    return (len(x) if loss_reduction == "mean" else 1) / curvature


def largest_curvature(chunks: Iterator[np.ndarray]) -> float:
    """Return the largest eigenvalue of A^T A, from chunks of the rows of A.

    More than one are reduced to A^T A, whose largest singular value it is.
    """
    first, second = next(chunks), next(chunks, None)
    if second is None:
        return largest_eigenvalue(first)
    products = first.T @ first + second.T @ second
    for chunk in chunks:
        products += chunk.T @ chunk
    return math.sqrt(largest_eigenvalue(products))


def largest_eigenvalue(A: np.ndarray) -> float:
    """Return the largest eigenvalue of A^T A, for A of shape (n, n_columns).

    It is the square of A's largest singular value, found by Lanczos iterations, which need a few
    products of A with a vector: for 1000 rows of 8000 columns about a second, where all eigenvalues
    would take minutes.
    """
    if min(A.shape) == 1 or not A.any():
        return float((A * A).sum())  # the only eigenvalue that is not zero
    # Imported here since only the error of a training that diverges needs it.
    from scipy.sparse.linalg import svds

    start = np.random.default_rng(0).standard_normal(min(A.shape))
    (largest,) = svds(A, k=1, v0=start, tol=1e-7, return_singular_vectors=False)
    return float(largest) ** 2


def softmax_loss_floor(n_classes: int) -> float:
    """Return the lower bound of the cross entropy of a softmax of a softmax.

    The best output is 1 for the true class and 0 for all others. Taken as logits, it has the cross
    entropy log(e + n_classes - 1) - 1, which is 0.31326 for two classes.
    """
    return math.log(math.e + n_classes - 1) - 1


def bayes_accuracy(
    centers: Sequence[Sequence[float]], std: float, n_angles: int = 100_000
) -> float:
    """Return the accuracy of the best possible classifier of equally likely Gaussian clusters.

    `centers` has shape (n_classes, 2) and `std` is the standard deviation of both coordinates. The
    best classifier predicts the nearest center, so it is right about a point of class k that lies
    in the Voronoi cell of center k. At angle t from the center, the cell ends at
    r(t) = min over the other centers of |d|^2 / (2 d . u(t)), with d the vector to that center and
    u(t) the direction. The distance of a point from its center has the distribution function
    1 - exp(-r^2 / (2 std^2)), so

        accuracy of k = 1 / (2 pi) * integral over t of 1 - exp(-r(t)^2 / (2 std^2)).

    For two classes that is Phi(|d| / (2 std)) (J. W. Craig, 1991). The integral is computed as a
    sum over equally spaced angles. With the default `n_angles` its error is below 1e-7 if the
    centers are at least std / 1000 apart; the tests measure it.
    """
    points = np.asarray(centers, dtype=np.float64)
    angles = (np.arange(n_angles) + 0.5) * (2 * math.pi / n_angles)
    accuracies = []
    for k, center in enumerate(points):
        nearest = np.full(n_angles, np.inf)
        for other in np.delete(points, k, axis=0):
            dx, dy = other - center
            toward = dx * np.cos(angles) + dy * np.sin(angles)  # (n_angles,)
            distance = np.divide(
                (dx * dx + dy * dy) / 2, toward, out=np.full(n_angles, np.inf), where=toward > 0
            )
            nearest = np.minimum(nearest, distance)
        accuracies.append(np.mean(-np.expm1(-0.5 * (nearest / std) ** 2)))
    return float(np.mean(accuracies))


def bayes_cross_entropy(
    centers: Sequence[Sequence[float]], std: float, end: float = 8.5, n_steps: int = 171
) -> float:
    """Return the cross entropy of the best possible classifier of the clusters, in nats.

    `centers` and `std` are as for bayes_accuracy. No classifier has a lower expected cross entropy
    than the one that predicts the true probability of each class, by Bayes' rule

        p(k | x) = exp(-|x - c_k|^2 / (2 std^2)) / sum over j of exp(-|x - c_j|^2 / (2 std^2)).

    With x = c_k + std z and d = (c_j - c_k) / std, -log p(k | x) is the logarithm of the sum over j
    of exp(z . d - |d|^2 / 2). Its mean over z, standard normal in two dimensions, is computed as a
    sum over a square grid with `n_steps` values from -`end` to `end` per axis. With the defaults
    its error is below 1e-12; the tests measure it.
    """
    points = np.asarray(centers, dtype=np.float64) / std
    axis = np.linspace(-end, end, n_steps)
    density = np.exp(-0.5 * axis**2)
    density = np.outer(density, density) / density.sum() ** 2  # (n_steps, n_steps)
    entropies = []
    for center in points:
        logarithm = np.zeros_like(density)  # of the class's own term, exp(0)
        for dx, dy in points - center:
            if dx or dy:
                term = np.add.outer(dx * axis, dy * axis) - (dx * dx + dy * dy) / 2
                logarithm = np.logaddexp(logarithm, term)
        entropies.append((density * logarithm).sum())
    return float(np.mean(entropies))
