"""Rows in batches and chunks, and each rank's share of them."""

import pytest
import torch
from torch import Tensor

from stages.shared import batches, ranks
from stages.shared.batches import Rows, load_rows, shuffle


def make_rows(n_rows: int, chunk_rows: int = 4) -> Rows:
    """Return rows whose X and y are their numbers."""
    return Rows(torch.arange(n_rows).float(), torch.arange(n_rows), torch.float64, chunk_rows)


def numbers(chunks: list[tuple[Tensor, Tensor]]) -> list[list[int]]:
    return [y.tolist() for _, y in chunks]


@pytest.fixture
def be_rank(monkeypatch: pytest.MonkeyPatch):
    """Return how to become a rank of many, which do not talk to each other."""

    def become(rank: int, n_ranks: int) -> None:
        for module in (ranks, batches):
            monkeypatch.setattr(module, "n_ranks", lambda: n_ranks)
        monkeypatch.setattr(ranks, "rank", lambda: rank)

    return become


def test_whole_is_all_rows_in_their_order_chunk_by_chunk() -> None:
    batch = make_rows(10).whole
    assert numbers(list(batch)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert (batch.n_rows, batch.n_chunks) == (10, 3)
    assert numbers(list(batch)) == numbers(list(batch))


def test_rows_stay_in_their_file_or_have_the_dtype_that_is_trained_in_on_a_gpu() -> None:
    """Apple's GPUs refuse float64, so that copying first and converting later would fail there."""
    X, y = torch.zeros(3, 2, dtype=torch.float64), torch.arange(3)
    rows = load_rows(X, y, torch.device("cpu"), torch.float32, 4)
    assert (rows.X.data_ptr(), rows.y.data_ptr()) == (X.data_ptr(), y.data_ptr())
    for target, dtype in ((y, torch.int64), (X[:, 0], torch.float32)):
        rows = load_rows(X, target, torch.device("meta"), torch.float32, 4)  # stands for a GPU
        assert (rows.X.dtype, rows.y.dtype) == (torch.float32, dtype)
        assert (rows.X.device.type, rows.y.device.type) == ("meta", "meta")


def test_chunks_have_the_dtype_that_is_trained_in() -> None:
    ((X, y),) = make_rows(3).whole
    assert (X.dtype, y.dtype) == (torch.float64, torch.int64)
    ((X, y),) = Rows(torch.ones(3, 2), torch.ones(3).double(), torch.float32, 4).whole
    assert (X.dtype, y.dtype) == (torch.float32, torch.float32)


def test_full_batch_is_not_shuffled_and_not_copied() -> None:
    rows = Rows(torch.ones(9).double(), torch.ones(9).double(), torch.float64, 9)
    (batch,) = rows.batches(None, seed=0, epoch=3, first=0)
    ((X, _),) = batch
    assert X.data_ptr() == rows.X.data_ptr()


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "sizes"),
    [
        (10, 5, [5, 5]),
        (10, 4, [3, 3, 4]),
        (11, 10, [5, 6]),
        (7, 3, [2, 2, 3]),
        (2, 5, [2]),
        (9, 9, [9]),
    ],
)
def test_batches_have_every_row_once_and_sizes_that_differ_by_one(
    n_rows: int, batch_size: int, sizes: list[int]
) -> None:
    rows = make_rows(n_rows)
    found = list(rows.batches(batch_size, seed=0, epoch=0, first=0))
    assert sorted(batch.n_rows for batch in found) == sizes
    assert rows.n_batches(batch_size) == len(sizes)
    everything = [row for batch in found for chunk in numbers(list(batch)) for row in chunk]
    assert sorted(everything) == list(range(n_rows))
    assert max(len(y) for batch in found for _, y in batch) <= 4


@pytest.mark.parametrize("n_rows", range(2, 40))
@pytest.mark.parametrize("batch_size", [3, 4, 5, 16])
def test_no_batch_has_a_single_row(n_rows: int, batch_size: int) -> None:
    batches_ = make_rows(n_rows).batches(batch_size, seed=0, epoch=0, first=0)
    assert all(2 <= batch.n_rows <= batch_size for batch in batches_)


def test_features_and_targets_stay_together_when_shuffled() -> None:
    for batch in make_rows(20).batches(6, seed=1, epoch=2, first=0):
        for X, y in batch:
            assert X.tolist() == y.tolist()


def order(seed: int, epoch: int) -> list[int]:
    return shuffle(50, seed, epoch).tolist()


def test_order_depends_on_the_seed_and_the_epoch_alone() -> None:
    assert order(0, 1) == order(0, 1)
    orders = [order(seed, epoch) for seed in range(4) for epoch in range(4)]
    assert len(set(map(tuple, orders))) == 16
    assert order(0, 0) != list(range(50))
    assert order(2**63 - 1, 10**6) != order(0, 10**6)


def test_order_is_uniform() -> None:
    """Each row comes first, and behind each other row, about equally often."""
    firsts = torch.tensor([shuffle(5, seed, 3)[:2].tolist() for seed in range(4000)])
    counts = torch.zeros(5, 5)
    for first, second in firsts.tolist():
        counts[first, second] += 1
    pairs = counts[~torch.eye(5, dtype=torch.bool)]
    assert ((pairs - 200) ** 2 / 200).sum() < 43.8  # chi-squared, 19 degrees of freedom, 0.1 %


def test_rest_of_an_epoch_is_that_of_the_whole_one() -> None:
    rows = make_rows(20)
    whole = [numbers(list(batch)) for batch in rows.batches(6, seed=1, epoch=2, first=0)]
    rest = [numbers(list(batch)) for batch in rows.batches(6, seed=1, epoch=2, first=2)]
    assert rest == whole[2:]


@pytest.mark.parametrize("batch_size", [None, 3, 6])
@pytest.mark.parametrize("n_ranks", [2, 3, 5])
def test_ranks_share_each_batch(be_rank, batch_size: int | None, n_ranks: int) -> None:
    rows = make_rows(10)
    alone = [
        [row for chunk in numbers(list(batch)) for row in chunk]
        for batch in rows.batches(batch_size, seed=0, epoch=1, first=0)
    ]
    shared: list[list[int]] = [[] for _ in alone]
    for rank in range(n_ranks):
        be_rank(rank, n_ranks)
        for number, batch in enumerate(make_rows(10).batches(batch_size, seed=0, epoch=1, first=0)):
            chunks = numbers(list(batch))
            assert batch.n_rows == len(alone[number])
            assert 1 <= len(chunks) <= batch.n_chunks
            shared[number] += [row for chunk in chunks for row in chunk]
    assert shared == alone


def test_rank_without_rows_has_one_empty_chunk(be_rank) -> None:
    be_rank(0, 4)
    batch = make_rows(3).whole
    assert numbers(list(batch)) == [[]]
    assert (batch.n_rows, batch.n_chunks) == (3, 1)


@pytest.mark.parametrize("chunk_rows", [3, 100])
@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_standard_deviation_of_the_target(chunk_rows: int, offset: float) -> None:
    y = offset + torch.randn(50, generator=torch.Generator().manual_seed(0)).double()
    rows = Rows(y, y, torch.float64, chunk_rows)
    expected = y.std(correction=0).item()
    assert rows.target_std == pytest.approx(expected, rel=1e-7 if offset else 1e-14)


def test_batch_does_not_keep_the_order_of_its_epoch() -> None:
    (batch, *_) = make_rows(20).batches(5, seed=0, epoch=0, first=0)
    assert batch.order is not None
    assert batch.order.untyped_storage().nbytes() == 5 * 4
