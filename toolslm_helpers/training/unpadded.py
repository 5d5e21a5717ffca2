"""A batch without padding: its rows one behind the other as one long row, and attention that looks inside each row only.

All of a layer but attention works token by token and does not mind whose neighbour a token is. transformers' own way needs a library
(flash-attn) that a laptop and many GPUs do not have; with torch's attention alone, rows that stand behind each other would see each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolslm_helpers.text.flatten import IGNORED
from toolslm_helpers.training.collators import CheckedCollator, check_rows, places_of

if TYPE_CHECKING:
    import torch
    from transformers import OPTForCausalLM

NAME = "sdpa_rows"


@dataclass(frozen=True)
class UnpaddedCollator(CheckedCollator):
    """Joins the rows of a batch, and refuses what ``CheckedCollator`` refuses.

    Gives "input_ids", "labels", "position_ids", all (1, T of all rows), and "row_lengths". Positions begin at 0 in each row. The first
    token of a row has no label: what stands before it is another row.
    """

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        import torch

        check_rows(rows)
        ids, labels = ([torch.as_tensor(row[name]).long() for row in rows] for name in ("input_ids", "labels"))
        nothing = torch.tensor([IGNORED])
        return (
            {
                "input_ids": torch.cat(ids)[None],  # (1, T)
                "labels": torch.cat([torch.cat([nothing, one[1:]]) for one in labels])[None],  # (1, T)
                "position_ids": torch.cat([torch.arange(len(one)) for one in ids])[None],  # (1, T)
                "row_lengths": [len(one) for one in ids],
            }
            | places_of(rows)
        )


def attend_within_rows(model: "OPTForCausalLM") -> None:
    """Lets a model's attention look inside each of the "row_lengths" it is called with; called without them, it is as it was."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, rows_attention)
    model.set_attn_implementation(NAME)


def rows_attention(
    module: "torch.nn.Module",
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    attention_mask: None,
    row_lengths: Sequence[int] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple["torch.Tensor", None]:
    """Causal attention of each row for itself: query, key, value (1, H, T of all rows, K) -> (1, T of all rows, H, K).

    No mask is made, so that torch takes its fast kernel for every row.
    """
    import torch
    import torch.nn.functional as F

    lengths = [query.shape[2]] if row_lengths is None else list(row_lengths)
    rows = zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True)
    found = [F.scaled_dot_product_attention(*row, dropout_p=dropout, scale=scaling, is_causal=True) for row in rows]
    return torch.cat(found, dim=2).transpose(1, 2), None
