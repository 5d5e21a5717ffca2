"""How users ask: requests built from openings, frames, noun phrases and endings, in a training half and a held-out half.

A *template* is the tuple of parts a request was built from. The two halves share no frame and no noun phrase, so no held-out template
can occur in training; the words they are made of do occur there, as for any reader.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from toolslm_helpers.data.words import article


@dataclass(frozen=True)
class Need:
    """One thing a user wants: the ``attribute`` of an ``entity`` of some ``kind``; ``extras`` are said values such as "in 1987".

    ``via`` is set for a chain ("the age of the director of Kelmora"): the attribute that leads from the entity to the next one.
    An empty ``entity`` is a request that forgot to say of whom.
    """

    attribute: str
    kind: str
    entity: str
    extras: tuple[str, ...] = ()
    via: str = ""


@dataclass(frozen=True)
class Wording:
    """One half of the templates. ``{np}`` is a noun phrase, ``{a}`` an attribute, ``{e}`` an entity, ``{k}`` its kind, ``{ak}``
    that kind with its article."""

    openings: tuple[str, ...]
    frames: tuple[str, ...]
    forgetful: tuple[str, ...]
    phrases: tuple[str, ...]
    chains: tuple[str, ...]
    entities: tuple[str, ...]
    joins: tuple[str, ...]
    follow_ups: tuple[str, ...]
    endings: tuple[str, ...]


TRAINING = Wording(
    openings=(*("",) * 12, "Hi! ", "Hello, ", "Good morning. ", "Quick question: ", "I am writing a report. ", "My team has a meeting. ",
              "I have a small problem. ", "We are planning a trip. ", "Sorry to ask again. ", "My sister wants to help. "),
    frames=("What is {np}?", "Tell me {np}.", "I need {np}.", "Give me {np}, please.", "Find {np}.", "Could you look up {np}?",
            "I want to know {np}.", "Please check {np}.", "Show me {np}.", "Do you know {np}?", "I would like to see {np}.",
            "Can you tell me {np}?", "Look for {np}.", "My friend asks for {np}.", "Report {np}.", "I am looking for {np}.",
            "Help me find {np}.", "Let me know {np}.", "We need {np} today.", "Search for {np}.", "Please send me {np}.", "Would you get {np}?",
            "It would help to have {np}.", "Is it possible to get {np}?", "I forgot {np}, what was it?", "How can I find out {np}?",
            "You should have {np} somewhere.", "The task is to get {np}.", "Everyone talks about {np}, so tell me.", "Get {np}!",
            "I must write down {np}.", "Who can tell me {np}?"),
    forgetful=("What is the {a}{x}?", "Tell me the {a}{x}.", "I need the {a}{x}.", "Could you look up the {a}{x}?", "Please check the {a}{x}.",
               "Find the {a}{x} for me.", "Can you tell me the {a}{x}?", "I want to know the {a}{x}.", "Show me the {a}{x}."),
    phrases=("the {a} of {e}{x}", "the {a} of {e}{x}", "the {a} for {e}{x}", "{e}'s {a}{x}", "the {a} that {e} has{x}", "the {a}{x} of {e}",
             "the {a} at {e}{x}", "the {a} we know of {e}{x}", "the {a} (for {e}){x}"),
    chains=("the {a} of the {via} of {e}{x}", "the {a} of {e}'s {via}{x}", "the {a} for the {via} of {e}{x}"),
    entities=("{e}", "{e}", "{k} {e}", "the {k} {e}", "the {k} called {e}", "{e}, {ak},"),
    joins=("{1} and {2}", "{1} and also {2}", "{1}, and {2}", "first {1}, then {2}"),
    follow_ups=("Also, ", "Then: ", "And ", "After that: ", ""),
    endings=(*("",) * 8, " Thanks!", " Thank you.", " It is for a report.", " Be quick, please.", " I have to know it today.",
             " My boss is waiting.", " That is all."),
)  # fmt: skip

HELD_OUT = Wording(
    openings=(*("",) * 6, "Hey there! ", "Dear assistant, ", "I am preparing a talk. ", "One more thing: ", "Good evening. ",
              "My brother has a question. "),
    frames=("Please share {np} with me.", "I wonder what {np} is.", "May I have {np}?", "Look into {np} for me.", "What would {np} be?",
            "Someone at work wants {np}.", "Can I get {np} from you?", "Would you mind checking {np}?", "I was asked for {np}.",
            "Do you happen to have {np}?", "Let us find out {np}.", "I am trying to learn {np}."),
    forgetful=("May I have the {a}{x}?", "Please share the {a}{x} with me.", "I wonder what the {a}{x} is.", "Look into the {a}{x}.",
               "Do you happen to have the {a}{x}?"),
    phrases=("the {a} given for {e}{x}", "the {a} belonging to {e}{x}", "the {a} on file for {e}{x}"),
    chains=("the {a} belonging to the {via} of {e}{x}", "the {a} given for the {via} of {e}{x}", "the {a} on file for {e}'s {via}{x}"),
    entities=("{e}", "{e}", "the {k} {e}", "{e} (the {k})", "the {k} named {e}"),
    joins=("{1} as well as {2}", "{1} together with {2}", "both {1} and {2}", "{1} plus {2}"),
    follow_ups=("In addition, ", "And one more: ", "Next, "),
    endings=(*("",) * 5, " Many thanks!", " I will wait.", " No hurry.", " We all want to know."),
)  # fmt: skip


def phrase(rng: random.Random, need: Need, wording: Wording) -> tuple[str, str]:
    """(noun phrase, template) for one need, such as ("the annual price of hotel Kelmora in 1987", "the {a} of {e}{x}|{k} {e}")."""
    form = rng.choice(wording.chains if need.via else wording.phrases)
    entity_form = rng.choice(wording.entities)
    entity = entity_form.format(e=need.entity, k=need.kind, ak=article(need.kind))
    text = form.format(a=need.attribute, e=entity, x=_extras(need), via=need.via)
    return text.replace(",'s", "'s").replace(",)", ")").rstrip(","), f"{form}|{entity_form}"


def _extras(need: Need) -> str:
    return "".join(" " + extra for extra in need.extras)


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


def request(rng: random.Random, needs: Sequence[Need], wording: Wording) -> tuple[str, str]:
    """(request, template): what a user says who has these needs, and the parts it was built from."""
    opening, ending = rng.choice(wording.openings), rng.choice(wording.endings)
    if not needs[0].entity:  # forgot to say of whom, or with what
        frame = rng.choice(wording.forgetful)
        body, template = frame.format(a=needs[0].attribute, x=_extras(needs[0])), frame
    elif len(needs) == 1 or rng.random() < 0.6:  # one frame around all noun phrases
        frame = rng.choice(wording.frames)
        text, template = phrase(rng, needs[0], wording)
        for need in needs[1:]:
            join = rng.choice(wording.joins)
            more, more_template = phrase(rng, need, wording)
            text, template = join.format("", text, more), f"{template}|{join}|{more_template}"
        body, template = frame.format(np=text), f"{frame}|{template}"
    else:  # a sentence for each need
        bodies, templates = [], []
        for k, need in enumerate(needs):
            frame = rng.choice(wording.frames)
            text, inner = phrase(rng, need, wording)
            follow_up = rng.choice(wording.follow_ups) if k else ""
            bodies.append(_capitalise(follow_up + frame.format(np=text)))
            templates.append(f"{follow_up}{frame}|{inner}")
        body, template = " ".join(bodies), "||".join(templates)
    return _capitalise(opening + body + ending), f"{opening}|{template}|{ending}"
