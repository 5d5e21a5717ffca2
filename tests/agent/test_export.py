"""Episodes as ToolBench's answer files and ToolEval's converted answers: upstream's own pairs, and round trips of ours."""

import json

import pytest

from toolslm_helpers.agent.dfsdt import Dfsdt
from toolslm_helpers.agent.episode import Episode
from toolslm_helpers.agent.export import answer_chain, answer_tree, convert, converted, episode_of, write_answers, write_converted
from toolslm_helpers.agent.gold import play
from toolslm_helpers.agent.search import play_episodes
from toolslm_helpers.data.chains import AnswerChain
from toolslm_helpers.data.converted import ConvertedStream
from toolslm_helpers.data.queries import test_queries as queries_of
from toolslm_helpers.data.toolbench import read_tree
from toolslm_helpers.data.world import build_world
from toolslm_helpers.files import DataError, read_json

WORLD = build_world(0)
QUERIES = queries_of(WORLD, "G1_instruction")[:8]


def gold_episode(query):
    steps = play(WORLD, query)
    end = json.loads(steps[-1].action_input)
    return Episode(query.query.query_id, query.query.query, steps, "finish", end.get("final_answer"), end["return_type"])


def searched(*turns, **limits):
    left = list(turns)
    search = Dfsdt(**limits)
    (episode,) = play_episodes(lambda cs: [left.pop(0)], WORLD, QUERIES[:1], "compact", 10, 0, search=search)
    return episode


CALL = "\nThought: t{0}\nAction: a{0}\nAction Input: {{}}"
GIVE_UP = '\nThought: No.\nAction: Finish\nAction Input: {"return_type": "give_up_and_restart"}'
ANSWER = '\nThought: Yes.\nAction: Finish\nAction Input: {"return_type": "give_answer", "final_answer": "48"}'


def test_gold_chains_go_out_and_come_back():
    for query in QUERIES:
        episode = gold_episode(query)
        back = episode_of(converted(WORLD, query, episode))
        shown = [(s.thought, s.action, s.action_input, s.observation) for s in back.steps]
        *before, last = episode.steps
        assert shown[:-1] == [(s.thought, s.action, s.action_input, s.observation) for s in before]
        assert shown[-1] == (last.thought, last.action, last.action_input, ""), (
            "the format has no place for what Finish brought back"
        )
        assert (back.query_id, back.query, back.ended, back.final_answer, back.return_type) == (
            episode.query_id, episode.query, "finish", episode.final_answer, episode.return_type,
        )  # fmt: skip
        assert back.steps[-1].code == episode.steps[-1].code


def test_a_tree_keeps_its_branches_and_marks_the_path():
    episode = searched(CALL.format(1), CALL.format(2), CALL.format(3), GIVE_UP, CALL.format(4), ANSWER)
    tree = answer_tree(WORLD, QUERIES[0], episode)

    def walk(node):
        return [(node.description, node.finished, node.pruned, [walk(child) for child in node.children])]

    def actions(node):
        """{action: (on the path, what follows)}: thoughts and inputs are between them."""
        found = {}
        for child in node.children:
            if child.node_type == "Action":
                found[child.description] = (child.finished, actions(child))
            else:
                found |= actions(child)
        return found

    gave_up, answered = {"a3": (False, {"Finish": (False, {})})}, {"a4": (True, {"Finish": (True, {})})}
    assert actions(tree.tree.tree) == {"a1": (True, {"a2": (True, {**gave_up, **answered})})}
    assert tree.win and json.loads(tree.answer_generation.final_answer)["final_answer"] == "48"
    assert [s.action for s in episode_of(convert(7, tree)).steps] == ["a1", "a2", "a4", "Finish"]
    assert convert(7, tree).answer.method == "DFS_woFilter_w2"


def test_an_episode_without_an_answer_has_none_in_the_file():
    for episode in (searched(*[CALL.format(1)] * 3, max_turns=3), searched(GIVE_UP)):
        answer = converted(WORLD, QUERIES[0], episode)
        assert answer.answer.final_answer == "" and episode_of(answer).final_answer is None
    empty = searched(None)
    assert episode_of(converted(WORLD, QUERIES[0], empty)).steps == () and answer_chain(WORLD, QUERIES[0], empty).win is False


def test_files_are_read_by_the_readers_of_toolbenchs_own(tmp_path):
    played = [(query, gold_episode(query)) for query in QUERIES[1:]] + [(QUERIES[0], searched(CALL.format(1), GIVE_UP, ANSWER))]
    files = write_answers(tmp_path / "answer", WORLD, played)
    assert {path.parent.name for path in files} == {"G1_instruction"} and len(files) == len(played)
    assert read_tree(files[-1]).win and files[-1].name == f"{QUERIES[0].query.query_id}_DFS_woFilter_w2.json"
    chain = AnswerChain.model_validate_json(files[0].read_text(encoding="utf-8"))
    (written,) = write_converted(tmp_path / "converted", WORLD, played)
    answers = list(ConvertedStream(written))
    assert [answer.query_id for answer in answers] == [str(query.query.query_id) for query, _ in played]
    assert answers[0] == convert(played[0][0].query.query_id, chain)


def test_upstreams_own_pairs(toolbench_dir):
    golden = read_json(toolbench_dir / "golden" / "tooleval_converted_valid.json")
    for name, expected in golden.items():
        made = convert(1, read_tree(toolbench_dir / "raw_trees" / name)).model_dump(exclude={"query_id"})
        assert json.loads(json.dumps(made)) == _without(expected), name
    assert len(golden) == 9


def test_stabletoolbenchs_own_pairs(toolbench_dir):
    folder, compared = toolbench_dir / "stabletoolbench" / "data_example", 0
    for method in ("cot", "dfs"):
        pairs = read_json(folder / "model_predictions_converted" / f"virtual_chatgpt_{method}" / "G1_instruction.json")
        for path in sorted((folder / "answer" / f"virtual_chatgpt_{method}" / "G1_instruction").glob("*.json")):
            read = read_tree if method == "dfs" else lambda p: AnswerChain.model_validate(read_json(p))
            query_id = path.name.split("_")[0]
            if (answer := read(path)).answer_generation.valid_data:
                made = convert(query_id, answer).model_dump(exclude={"query_id"})
                assert json.loads(json.dumps(made)) == _without(pairs[query_id]), path.name
                compared += 1
    assert compared >= 3


def _without(expected):
    """Upstream's answer with its functions read as records: fields that nobody reads are dropped there."""
    from toolslm_helpers.data.records import Function

    return {**expected, "available_tools": [Function.model_validate(tool).model_dump() for tool in expected["available_tools"]]}


def test_cut_messages_are_named(toolbench_dir):
    answer = next(iter(ConvertedStream(sorted((toolbench_dir / "results_gpt-3.5-turbo_CoT").glob("*.json"))[0])))
    with pytest.raises(DataError, match="cut at 100 characters"):
        episode_of(answer)
