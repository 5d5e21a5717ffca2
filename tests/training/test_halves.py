"""Two workers, half a batch each: the gradient of the whole batch, and the machine's threads as they were."""

import pytest
import torch

from toolslm_helpers.training.halves import HALVES, backward_in_parts, one_core_each


def whole_and_halves(rows: int):
    """(gradient, loss) of a mean over supervised targets, of the whole batch at once and in two parts."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(rows, 5, generator=generator), torch.randint(0, 3, (rows,), generator=generator)
    y[0] = -100
    found = []
    for parts in (1, HALVES):
        layer = torch.nn.Linear(5, 3)
        with torch.no_grad():
            layer.weight.fill_(0.1), layer.bias.zero_()
        count = int((y != -100).sum())

        def share(part, layer=layer, count=count):
            return torch.nn.functional.cross_entropy(layer(part[0]), part[1], reduction="sum", ignore_index=-100) / count

        with one_core_each() as workers:
            halves = list(zip(x.chunk(parts), y.chunk(parts), strict=True))
            loss = backward_in_parts(workers, share, halves, list(layer.parameters()))
        found.append((layer.weight.grad, loss))
    return found


@pytest.mark.parametrize("rows", [2, 5, 8])
def test_the_halves_add_up_to_the_batch(rows):
    (whole, loss), (halved, halved_loss) = whole_and_halves(rows)
    assert whole.abs().max() > 0 and torch.allclose(whole, halved, atol=1e-7)
    assert halved_loss == pytest.approx(loss, abs=1e-6)


def test_gradients_are_added_to_what_is_there():
    weight = torch.nn.Parameter(torch.ones(3))
    with one_core_each() as workers:
        for _ in range(2):
            backward_in_parts(workers, lambda part: (weight * part).sum(), [torch.tensor(1.0), torch.tensor(2.0)], [weight])
    assert weight.grad.tolist() == [6, 6, 6]


def test_threads_are_as_before_even_after_an_error():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError), one_core_each():
            assert torch.get_num_threads() == 1
            raise ZeroDivisionError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
