"""Who looks at a model while it is trained changes nothing: not its weights, not its mode, not a random number."""

import random
from dataclasses import replace

import numpy
import pytest
import torch
from safetensors.torch import load_file

from toolslm_helpers.agent.gold import gold_trajectories
from toolslm_helpers.data.world import build_world
from toolslm_helpers.model.checkpoints import new_model, save_model
from toolslm_helpers.model.decoding import generate_batch
from toolslm_helpers.sizes import SMOKE
from toolslm_helpers.training.sft import train
from toolslm_helpers.training.watching import undisturbed

SIZE = replace(SMOKE, batch_size=4, warmup_steps=0)
TRAJECTORIES = gold_trajectories(build_world(), 16)


@pytest.fixture(params=[0.0, 0.2], ids=["halves", "dropout"])
def start(request, tmp_path):
    """With dropout every step draws from torch's generator, so that a number drawn too many is seen in the weights."""
    model = new_model(0, hidden_size=40, word_embed_proj_dim=20, ffn_dim=64, num_hidden_layers=1)
    model.config.dropout = request.param
    return save_model(model, tmp_path / "start")


def test_a_watched_run_ends_with_the_weights_of_an_unwatched_one(start, tmp_path):
    seen = []

    def watch(step, steps, model):
        torch.rand(7), random.random(), numpy.random.random()  # as a careless watcher would
        [written] = generate_batch(model, [[2, 40, 50]], 8, 0.7, [0], 2)
        assert not model.training and not torch.is_grad_enabled()
        assert steps == 4
        seen.append((step, len(written), model.lm_head.weight.detach().abs().sum().item()))

    watched = train(SIZE, 3, tmp_path / "watched", TRAJECTORIES, start=start, watch=watch)
    alone = train(SIZE, 3, tmp_path / "alone", TRAJECTORIES, start=start)
    assert [step for step, _, _ in seen] == [0, 1, 2, 3, 4] and all(written for _, written, _ in seen)
    assert len({weight for _, _, weight in seen}) == 5, "it is the model in training that is shown, not a copy"
    assert watched.final_loss == alone.final_loss
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("watched", "alone")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_generators_are_as_before_even_after_an_error(training):
    model = torch.nn.Dropout(0.5).train(training)
    torch.manual_seed(1), random.seed(1), numpy.random.seed(1)
    expected = torch.rand(1).item(), random.random(), numpy.random.random()
    torch.manual_seed(1), random.seed(1), numpy.random.seed(1)
    with pytest.raises(ZeroDivisionError), undisturbed(model):
        assert torch.equal(model(torch.ones(4)), torch.ones(4))
        torch.rand(3), random.random(), numpy.random.random()
        raise ZeroDivisionError
    assert model.training is training and torch.is_grad_enabled()
    assert (torch.rand(1).item(), random.random(), numpy.random.random()) == expected
