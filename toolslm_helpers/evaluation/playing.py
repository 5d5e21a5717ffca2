"""What `toolslm evaluate` plays: who writes the turns, under which search, which queries, where their tools are, and what is kept of it."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from toolslm_helpers.agent import export
from toolslm_helpers.agent.dfsdt import search_named
from toolslm_helpers.agent.endpoint import EndpointAgent
from toolslm_helpers.agent.episode import Episode
from toolslm_helpers.agent.remote import RemoteWorld
from toolslm_helpers.agent.saving import EpisodeLog
from toolslm_helpers.agent.search import Agent, ModelAgent, Offers
from toolslm_helpers.agent.virtual_api import VirtualApi
from toolslm_helpers.data.folder import toolbench_folder
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.queries import test_queries
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.evaluation.recorded import weights_hash
from toolslm_helpers.evaluation.released import ReleasedApi, read_released
from toolslm_helpers.evaluation.sharing import process
from toolslm_helpers.evaluation.tooleval import play_shared
from toolslm_helpers.files import WorkbookError
from toolslm_helpers.model.checkpoints import checkpoint_path, load_model
from toolslm_helpers.sizes import Size

if TYPE_CHECKING:
    from transformers import OPTForCausalLM

CALLS_AT_ONCE = 16  # calls that wait for a server together


@dataclass(frozen=True)
class Played:
    """Queries and the episodes that were played for them, with the tools that they offer. ``undescribed`` counts tools without a file."""

    world: Offers
    pairs: tuple[tuple[WorldQuery, Episode], ...]
    undescribed: int = 0

    def export(self, folder: Path) -> None:
        """Writes ToolBench's answer files below ``folder``/answer and ToolEval's converted answers below ``folder``/converted."""
        export.write_answers(folder / "answer", self.world, self.pairs)
        export.write_converted(folder / "converted", self.world, self.pairs)


@dataclass(frozen=True)
class Playing:
    """One evaluation's episodes, before they are played.

    ``endpoint`` is the address of an OpenAI-compatible server whose ``model`` writes the turns; without it ``model`` is a checkpoint.
    ``server`` is the address of a tool world that speaks POST /virtual; without it the embedded world answers in this process.
    """

    model: str
    size: Size
    seed: int
    search: str = "cot"
    data: Literal["world", "toolbench"] = "world"
    endpoint: str | None = None
    server: str | None = None
    episodes: Path | None = None

    def __post_init__(self) -> None:
        if self.data == "toolbench" and self.server is None:
            raise WorkbookError(
                "--data toolbench: pass --answers FOLDER to judge answers that were played elsewhere, or --server ADDRESS to play the "
                "queries of TOOLBENCH_DIR: the address of `toolslm serve --cache FOLDER`, or of StableToolBench's server."
            )

    def play(self, on_progress: Callable[[int, int], None] | None = None) -> Played:
        """Plays, or goes on where the file ``episodes`` ends. Under ``accelerate launch`` every process gets all episodes."""
        search, limit = search_named(self.search, self._size), self.size.eval_queries_per_set
        if self.data == "toolbench":
            world = read_released(toolbench_folder(), limit)
            queries, api, undescribed = world.queries, ReleasedApi(self.server), world.undescribed
        else:
            world, undescribed = build_world(), 0
            queries = tuple(query for name in SETS for query in test_queries(world, name)[:limit])
            api = VirtualApi(RemoteWorld.of(self.server, world) if self.server else world)
        log = self._log()
        try:
            episodes = play_shared(
                self._agent(), world, queries, self._size, self.seed, on_progress=on_progress,
                search=search, log=log, api=api, calls_at_once=CALLS_AT_ONCE if self.server else 1,
            )  # fmt: skip
        finally:
            if log:
                log.close()
        return Played(world, tuple(zip(queries, episodes, strict=True)), undescribed)

    @property
    def _size(self) -> Size:
        """The size; a chat model reads the list of functions in the compact rendering, which ``agent.chat`` takes apart."""
        return replace(self.size, rendering="compact") if self.endpoint else self.size

    def _agent(self) -> Agent:
        if self.endpoint:
            key, written = os.environ.get("OPENAI_API_KEY", "none"), max(self.size.max_new_tokens, 512)
            return EndpointAgent(self.endpoint, self.model, key, self.size.temperature, max_tokens=written)
        model, tokenizer = load_model(self.model)
        return ModelAgent(_on_device(model), tokenizer, self.size)

    def _log(self) -> EpisodeLog | None:
        if self.episodes is None:
            return None
        rank, processes = process()
        # Each process keeps, and goes on from, a file of its own.
        path = self.episodes.with_name(f"{self.episodes.stem}.{rank}{self.episodes.suffix}") if processes > 1 else self.episodes
        return EpisodeLog(path, self._settings())

    def _settings(self) -> dict[str, Any]:
        """What an episode depends on: saved episodes go on only under the same."""
        limits = {name: value for name, value in asdict(self._size).items() if name != "eval_queries_per_set"}
        settings = {"seed": self.seed, "search": self.search, "size": limits, "data": self.data, "server": self.server}
        if self.endpoint:
            return settings | {"endpoint": self.endpoint, "model": self.model}
        return settings | {"weights": weights_hash(checkpoint_path(self.model) / "model.safetensors")}


def _on_device(model: "OPTForCausalLM") -> "OPTForCausalLM":
    """The model on this process's GPU, where there is one."""
    import torch

    return model.to(f"cuda:{os.environ.get('LOCAL_RANK', '0')}") if torch.cuda.is_available() else model
