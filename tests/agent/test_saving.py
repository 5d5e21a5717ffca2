"""Episodes on disk: what was written is read back; what was cut is played again; what does not belong is refused."""

import json
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolslm_helpers.agent.episode import Episode, Node, Step
from toolslm_helpers.agent.saving import EpisodeLog, episode_as_json, episode_from_json
from toolslm_helpers.agent.search import key_of, play_episodes
from toolslm_helpers.data.queries import test_queries as queries_of
from toolslm_helpers.data.world import build_world
from toolslm_helpers.files import DataError, WorkbookError

WORLD = build_world(0)
QUERIES = queries_of(WORLD, "G1_instruction")[:5]
SETTINGS = {"model": "abc", "search": "cot", "seed": 0}
STEPS = st.builds(Step, st.text(), st.text(), st.text(), st.text(), st.integers(0, 12))
NODES = st.recursive(st.builds(Node, STEPS), lambda n: st.builds(Node, STEPS, st.lists(n, max_size=2).map(tuple)), max_leaves=5)
EPISODES = st.builds(
    Episode, st.integers(0, 10**9), st.text(), st.lists(STEPS, max_size=3).map(tuple),
    st.sampled_from(["finish", "iterations", "context"]), st.none() | st.text(), st.none() | st.text(),
    st.lists(NODES, max_size=2).map(tuple),
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # nested strategies are slow to begin with
@given(EPISODES)
def test_every_episode_survives(episode):
    assert episode_from_json(json.loads(json.dumps(episode_as_json(episode)))) == episode


def give_up(conversations):
    return ['\nThought: No.\nAction: Finish\nAction Input: {"return_type": "give_up_and_restart"}' for _ in conversations]


def test_a_log_continues_where_it_stopped(tmp_path):
    path = tmp_path / "log" / "episodes.jsonl"
    with EpisodeLog(path, SETTINGS) as log:
        first = play_episodes(give_up, WORLD, QUERIES[:3], "compact", 3, 0, on_episode=log.append)
    asked = []

    def counting(conversations):
        asked.extend(conversations)
        return give_up(conversations)

    with EpisodeLog(path, SETTINGS) as log:
        assert [log.episodes[key_of(query)] for query in QUERIES[:3]] == first
        play_episodes(counting, WORLD, QUERIES, "compact", 3, 0, finished=log.episodes, on_episode=log.append)
    assert len(asked) == 2
    with EpisodeLog(path, SETTINGS) as log:
        assert len(log.episodes) == 5


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5000))
def test_cut_anywhere_it_loses_at_most_the_last_line(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "episodes.jsonl"
    with EpisodeLog(path, SETTINGS) as log:
        episodes = play_episodes(give_up, WORLD, QUERIES, "compact", 3, 0, on_episode=log.append)
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    whole = max(content[:cut].count(b"\n") - 1, 0)
    with EpisodeLog(path, SETTINGS) as log:
        assert len(log.episodes) == whole
        assert play_episodes(give_up, WORLD, QUERIES, "compact", 3, 0, finished=log.episodes, on_episode=log.append) == episodes
    with EpisodeLog(path, SETTINGS) as log:
        assert [log.episodes[key_of(query)] for query in QUERIES] == episodes


def test_other_settings_and_damage_are_refused(tmp_path):
    path = tmp_path / "episodes.jsonl"
    EpisodeLog(path, SETTINGS).close()
    with pytest.raises(WorkbookError, match="seed = 0, asked for is 1"):
        EpisodeLog(path, {**SETTINGS, "seed": 1})
    path.write_text(path.read_text(encoding="utf-8") + '{"set": "x", "episode": {"query_id": "7"}}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 2: not an episode"):
        EpisodeLog(path, SETTINGS)


SLOWLY = """
import sys, time
from toolslm_helpers.agent.saving import EpisodeLog
from toolslm_helpers.agent.search import play_episodes
from toolslm_helpers.data.queries import test_queries
from toolslm_helpers.data.world import build_world

def agent(conversations):
    time.sleep(0.05)
    print("turn", flush=True)
    return ['Action: Finish\\nAction Input: {"return_type": "give_answer", "final_answer": "x"}' for _ in conversations]

world = build_world(0)
with EpisodeLog(sys.argv[1], {}) as log:
    play_episodes(agent, world, test_queries(world, "G1_tool")[:40], "compact", 3, 0, 1, finished=log.episodes, on_episode=log.append)
"""


@pytest.mark.slow
def test_killed_at_random_nothing_is_lost_and_nothing_played_twice(tmp_path):
    """Three runs are killed after a while, the fourth ends: together they took as many turns as there are queries, or one more a kill."""
    path, turns = tmp_path / "episodes.jsonl", 0
    for seconds in (0.4, 0.7, 0.3, None):
        run = subprocess.Popen([sys.executable, "-c", SLOWLY, str(path)], stdout=subprocess.PIPE, text=True)
        if seconds is not None:
            run.stdout.readline()
            turns += 1
            time.sleep(seconds)
            run.kill()
        turns += len(run.communicate()[0].splitlines())
    with EpisodeLog(path, {}) as log:
        assert len(log.episodes) == 40
    assert 40 <= turns <= 43
