"""A chat model as an agent: what it is told, and what of its words counts."""

from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from toolslm_helpers.agent.chat import INSTRUCTION, REMINDER, ChatAgent, chat_messages, until_first_call
from toolslm_helpers.agent.gold import gold_trajectory
from toolslm_helpers.agent.prompting import FewShotAgent
from toolslm_helpers.agent.search import play_episodes
from toolslm_helpers.data import queries
from toolslm_helpers.data.world import build_world
from toolslm_helpers.sizes import SIZES
from toolslm_helpers.text.protocol import parse_action, render_function_compact
from toolslm_helpers.text.tokenizer import load_small_tokenizer

WORLD = build_world(0)
QUERY, OTHER = [query for query in queries.test_queries(WORLD, "G1_tool")[:9] if query.goal.kind == "answer"][:2]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def chat_agent():
    """A random Llama, SmolLM2's architecture, with the small tokenizer and SmolLM2's kind of template."""
    tokenizer = load_small_tokenizer()
    tokenizer.chat_template = CHATML
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=8192, initializer_range=0.5, pad_token_id=2, eos_token_id=2, bos_token_id=1,
    )  # fmt: skip
    size = replace(SIZES["smoke"], max_length=4096, max_new_tokens=8, temperature=1.0)
    return ChatAgent(LlamaForCausalLM(config).eval(), tokenizer, size)


def test_a_conversation_as_a_chat():
    messages = gold_trajectory(WORLD, QUERY, "compact").messages
    chat = chat_messages(messages)
    assert chat[0] == {"role": "system", "content": INSTRUCTION}
    assert [turn["role"] for turn in chat[1:]] == ["user", "assistant"] * ((len(messages) - 1) // 2)
    functions = [render_function_compact(function) for function in gold_trajectory(WORLD, QUERY, "compact").functions]
    assert chat[1]["content"] == "Functions:\n" + "\n".join(functions) + f"\n\nRequest: {QUERY.query.query}\n\n{REMINDER}"
    assert (
        chat[2]["content"] == messages[2].content.strip() and chat[3]["content"] == f"Result: {messages[3].content}\n\n{REMINDER}"
    )


def test_examples_bring_their_own_apis_and_the_instruction_stands_once():
    example = gold_trajectory(WORLD, OTHER, "compact")
    chat = chat_messages([*example.messages, *gold_trajectory(WORLD, QUERY, "compact").messages[:2]])
    requests = [turn["content"] for turn in chat if turn["content"].startswith("Functions:")]
    assert [text.partition("Request: ")[2].partition("\n")[0] for text in requests] == [OTHER.query.query, QUERY.query.query]
    assert example.functions[0].name in requests[0] and example.functions[0].name not in requests[1]
    assert [turn["role"] for turn in chat].count("system") == 1 and chat[-1]["role"] == "user"


def test_the_instruction_says_how_to_call_and_all_three_ways_to_end():
    endings = INSTRUCTION.split("Action: Finish\n")[1:]
    read = [parse_action("Action: Finish\n" + text.split("\nIf ")[0]) for text in endings]
    assert [action.arguments["return_type"] for action in read] == ["give_answer", "give_up_and_restart"]
    assert "asks for it" in INSTRUCTION and all(action.problem is None for action in read)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('Thought: a\nAction: f\nAction Input: {"x": 1}\nResult: {"y": 2}', 'Thought: a\nAction: f\nAction Input: {"x": 1}'),
        ('Action: f\nAction Input: {"x": "}"} and so on', 'Action: f\nAction Input: {"x": "}"}'),
        ('Action: f\nAction Input: {"x": ', 'Action: f\nAction Input: {"x": '),
        ("Action: f\nAction Input: Paris\nAction Input: {}", "Action: f\nAction Input: Paris\nAction Input: {}"),
        ("The capital is Paris.", "The capital is Paris."),
        ("Action: f\nAction Input:\n```json\n{}", "Action: f\nAction Input:\n```json\n{}"),
        ("Action Input: " + "[" * 100_000, "Action Input: " + "[" * 100_000),
        ("", ""),
    ],
)
def test_what_follows_the_first_call_is_cut(text, kept):
    assert until_first_call(text) == kept


def test_the_prompt_is_the_template_s_text_and_play_goes_on_in_it():
    agent = chat_agent()
    prompts = []

    class Spy(ChatAgent):
        def prompt(self, messages):
            prompts.append(super().prompt(messages))
            return prompts[-1]

    spy = Spy(agent.model, agent.tokenizer, agent.size)
    (episode,) = play_episodes(spy, WORLD, [QUERY], "compact", 2, seed=0)
    assert len(episode.steps) == 2 and len(prompts) == 2
    text = agent.tokenizer.decode(prompts[0], clean_up_tokenization_spaces=False)
    assert text.startswith(f"<|im_start|>system\n{INSTRUCTION}<|im_end|>\n<|im_start|>user\nFunctions:\n")
    assert text.endswith(f"{QUERY.query.query}\n\n{REMINDER}<|im_end|>\n<|im_start|>assistant\n")
    assert episode.steps[0].observation in agent.tokenizer.decode(prompts[1], clean_up_tokenization_spaces=False)


def test_rows_of_a_llama_are_played_alike_in_a_batch_and_alone():
    """Left padding shifts a Llama's absolute positions; its attention sees only distances."""
    agent = chat_agent()
    some = queries.test_queries(WORLD, "G2_category")[:4]
    together = play_episodes(agent, WORLD, some, "compact", 2, seed=3)
    assert together == play_episodes(agent, WORLD, some, "compact", 2, seed=3, batch_size=1)
    assert len({episode.steps for episode in together}) == 4


def test_examples_stand_before_a_chat_too():
    agent, seen = chat_agent(), []
    example = gold_trajectory(WORLD, OTHER, "compact")

    def spy(conversations):
        seen.extend(agent.tokenizer.decode(agent.prompt(c.messages)) for c in conversations)
        return agent(conversations)

    play_episodes(FewShotAgent(spy, (example,), lambda messages: True), WORLD, [QUERY], "compact", 1, seed=0)
    assert seen[0].index(f"Request: {OTHER.query.query}") < seen[0].index(f"Request: {QUERY.query.query}")
