"""How users ask: requests built from openings, frames, noun phrases and endings, in a training half and a held-out half.

A *template* is the tuple of parts a request was built from. The two halves share no frame and no noun phrase, so no held-out template
can occur in training; the words they are made of do occur there, as for any reader. Many training parts hold ``{w}``, a coined word: a
reader who has met words that nobody knows in every place looks past those of a new wording.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from toolslm_helpers.data.words import article, coin_word


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
    that kind with its article, ``{w}`` and ``{v}`` coined words that mean nothing (in the training half only)."""

    openings: tuple[str, ...]
    frames: tuple[str, ...]
    forgetful: tuple[str, ...]
    phrases: tuple[str, ...]
    chains: tuple[str, ...]
    entities: tuple[str, ...]
    joins: tuple[str, ...]
    follow_ups: tuple[str, ...]
    endings: tuple[str, ...]


# What may stand between an attribute and its entity.
_LINKS = (
    "of|for|at|under|from|with|by|listed for|recorded for|noted for|stored for|kept for|shown for|quoted for|"
    "announced for|stated for|meant for|valid for|due for|found for|known for|written down for|assigned to|attached to|"
    "linked to|tied to|related to|according to|connected with|reported by|measured at|found at|held by|held at|set by|"
    "published by|in the books of|in the case of|in the data of|on the page of|on the sheet of|on the list of|concerning|"
    "regarding|about|around|behind|that goes with|that comes with|that we have for|which applies to|that was noted for|"
    "which stands under|as listed by|currently for|right now at|today at|these days for|exactly for"
).split("|")

TRAINING = Wording(
    openings=(*("",) * 12, "Hi! ", "Hello, ", "Good morning. ", "Quick question: ", "I am writing a report. ", "My team has a meeting. ",
              "I have a small problem. ", "We are planning a trip. ", "Sorry to ask again. ", "My sister wants to help. ", *("",) * 6,
              "Hello there! ", "Hi, ", "Please: ", "Excuse me, ", "Listen: ", "Okay, ", "So, ", "Well, ", "Good day. ",
              "My colleague is ill. ", "This is urgent. ", "I am new here. ", "I am back. ", "We talked before. ", "Here is my question. ",
              "The meeting starts soon. ", "I am at the desk. ", "Our customer is on the phone. ", "{w}! ", "{w} {v}, ", "{w} {v}! ",
              "My {w} has a {v}. ", "I am {w} a {v}. ", "One {w}: ", "One more {w}: ", "{w}: ", "A {w} {v}: ", "{w}, {v}, "),
    frames=("What is {np}?", "Tell me {np}.", "I need {np}.", "Give me {np}, please.", "Find {np}.", "Could you look up {np}?",
            "I want to know {np}.", "Please check {np}.", "Show me {np}.", "Do you know {np}?", "I would like to see {np}.",
            "Can you tell me {np}?", "Look for {np}.", "My friend asks for {np}.", "Report {np}.", "I am looking for {np}.",
            "Help me find {np}.", "Let me know {np}.", "We need {np} today.", "Search for {np}.", "Please send me {np}.",
            "Would you get {np}?", "It would help to have {np}.", "Is it possible to get {np}?", "I forgot {np}, what was it?",
            "How can I find out {np}?", "You should have {np} somewhere.", "The task is to get {np}.",
            "Everyone talks about {np}, so tell me.", "Get {np}!", "I must write down {np}.", "Who can tell me {np}?", "Fetch {np}.",
            "Tell us {np}.", "Look at {np} and tell me.", "I would love to know {np}.", "Any idea about {np}?", "Where can I see {np}?",
            "Now {np}.", "{np}?", "{np}, please.", "Just {np}.", "Only {np}, nothing else.", "Say {np}.", "What do you know about {np}?",
            "What about {np}?", "How about {np}?", "Let me see {np}.", "Let me have {np}.", "Read me {np}.", "Bring me {np}.",
            "Everybody here wants {np}.", "My teacher asked about {np}.", "They keep asking about {np}.", "I am curious about {np}.",
            "I am interested in {np}.", "I am unsure about {np}.", "I have to report {np}.", "I could use {np}.", "Might you have {np}?",
            "Are you able to find {np}?", "Can we get {np}?", "Could I see {np}?", "Would you tell me {np}?",
            "Would it be possible to see {np}?", "Tell me about {np}.", "Inform me of {np}.", "Please find {np}.", "Please give us {np}.",
            "Please look for {np} for us.", "Check {np}.", "Check {np} for me.", "Find {np} for me.", "Get me {np}.", "Get {np} for us.",
            "Do a search for {np}.", "Do me a favour and find {np}.", "Somebody must know {np}.", "Nobody told me {np}.",
            "You surely know {np}.", "This is about {np}.", "We were talking about {np}.", "We want {np}.", "We must have {np} now.",
            "I lost {np}.", "I never saw {np}.", "I wrote {np} down wrongly, what is it?", "Remind me of {np}.", "Remind me what {np} is.",
            "What was {np} again?", "What exactly is {np}?", "What could {np} be?", "whats {np}", "tell me {np} pls", "need {np}",
            "looking for {np}", "i want {np}", "find {np} asap", "Have a look at {np}, would you?", "If you can, find {np}.",
            "All I need is {np}.", "I am told to bring {np}.", "Here they want {np}.", "The question is: {np}.", "Question about {np}.",
            "Please {w} {np}.", "Please {w} {np} for us.", "Could you {w} {np} for me?", "I {w} {np}.", "I {w} what {np} is.", "{w} {np}!",
            "Would you {w} {np} to us?", "We {w} {np} today.", "Let us {w} {np}.", "What would {w} {np}?", "My {w} wants {np}.",
            "I am {w} about {np}.", "The {w} asked for {np}.", "Do you {w} {np}?", "I was {w} {np}.", "To {w}: {np}, please.",
            "Can {np} be {w}?", "You {w} {np}, or so I hear.", "Is {np} {w}?", "It is {np} that we {w}.", "Can I {w} {np} from you?",
            "{w} {v} {np}.", "{w} {v} {np} for me.", "Please {w} {np} with me.", "Would you {w} {v} {np}?", "{w} I have {np}?",
            "May I {w} {np}?", "I am {w} to {v} {np}.", "{w} at work {v} {np}.", "Do you {w} to have {np}?", "What {w} {np} be?",
            "I {w} for {np}.", "{w} into {np} for me.", "You {w} to {v} {np} from us.", "Let us {w} out {np}.", "I {w}, {np} is what?"),
    forgetful=("What is the {a}{x}?", "Tell me the {a}{x}.", "I need the {a}{x}.", "Could you look up the {a}{x}?", "Please check the {a}{x}.",
               "Find the {a}{x} for me.", "Can you tell me the {a}{x}?", "I want to know the {a}{x}.", "Show me the {a}{x}.",
               "Fetch the {a}{x}.", "What about the {a}{x}?", "Let me see the {a}{x}.", "I am curious about the {a}{x}.",
               "The {a}{x}, please.", "Get me the {a}{x}.", "We want the {a}{x}.", "Remind me of the {a}{x}.", "whats the {a}{x}",
               "need the {a}{x}", "Check the {a}{x}.", "Could I see the {a}{x}?", "My teacher asked about the {a}{x}.",
               "Any idea about the {a}{x}?", "Please {w} the {a}{x}.", "Could you {w} the {a}{x} for me?", "I {w} the {a}{x}.",
               "Let us {w} the {a}{x}.", "I {w} what the {a}{x} is.", "My {w} wants the {a}{x}.", "Do you {w} the {a}{x}?",
               "Please {w} the {a}{x} with me.", "{w} I {v} the {a}{x}?", "{w} into the {a}{x}.", "Do you {w} to {v} the {a}{x}?"),
    phrases=("the {a} of {e}{x}", "the {a} of {e}{x}", "the {a} for {e}{x}", "{e}'s {a}{x}", "the {a} that {e} has{x}", "the {a}{x} of {e}",
             "the {a} at {e}{x}", "the {a} we know of {e}{x}", "the {a} (for {e}){x}", "the {a} listed for {e}{x}", "the {a} under {e}{x}",
             "the {a} recorded for {e}{x}", "the {a} shown by {e}{x}", "the {a} written down for {e}{x}", "the {a} from {e}{x}",
             "the {a} connected with {e}{x}", "the {a} people report of {e}{x}", *(f"the {{a}} {link} {{e}}{{x}}" for link in _LINKS),
             *(f"the {{a}}{{x}} {link} {{e}}" for link in _LINKS[:12]), "the {a} that {e} shows{x}", "the {a} which {e} has{x}",
             "the {a} that {e} reports{x}", "{e}'s own {a}{x}", "the {a} {e} has{x}", "for {e} the {a}{x}", "for {e}, the {a}{x}",
             "as for {e}, the {a}{x}", "{e}: the {a}{x}", "{e}, the {a}{x}", "{e} {a}{x}", "{a} of {e}{x}", "{a} for {e}{x}",
             "this {a} of {e}{x}", "a certain {a} of {e}{x}", "the exact {a} of {e}{x}", *("the {a} {w} for {e}{x}",) * 3,
             *("the {a} {w} to {e}{x}",) * 2, "the {a} {w} by {e}{x}", "the {a} on {w} for {e}{x}", "the {a} on {w} of {e}{x}",
             "the {a} in the {w} of {e}{x}", "the {a} {w} {e}{x}", "the {a} that {w} {e}{x}", "the {a} {w} with {e}{x}",
             *("the {a} {w} {v} {e}{x}", "the {a} {w} to {e}{x}", "the {a} {w} for {e}{x}", "the {a} {w} on {e}{x}") * 3),
    chains=("the {a} of the {via} of {e}{x}", "the {a} of {e}'s {via}{x}", "the {a} for the {via} of {e}{x}",
            "the {a} that the {via} of {e} has{x}", "the {a} listed for the {via} of {e}{x}", "the {a} under {e}'s {via}{x}",
            *(f"the {{a}} {link} the {{via}} {other} {{e}}{{x}}" for link, other in zip(_LINKS[:18], _LINKS[18:36], strict=True)),
            *(f"the {{a}} {link} {{e}}'s {{via}}{{x}}" for link in _LINKS[:12]), "{e}'s {via} and the {a} of that {via}{x}",
            "{e} has a {via}, and the {a} of that {via}{x}", "the {via} of {e}, more exactly its {a}{x}",
            *("the {a} {w} for the {via} of {e}{x}", "the {a} {w} to the {via} of {e}{x}", "the {a} {w} to {e}'s {via}{x}",
              "the {a} on {w} for {e}'s {via}{x}", "the {a} of the {via} {w} by {e}{x}", "the {a} {w} {e}'s {via}{x}",
              "the {a} {w} to the {via} {v} to {e}{x}", "the {a} {w} for the {via} {v} by {e}{x}", "the {a} on {w} of {e}'s {via}{x}",
              "the {a} {w} {v} the {via} of {e}{x}", "the {a} {w} for the {via} for {e}{x}") * 3),
    entities=("{e}", "{e}", "{k} {e}", "the {k} {e}", "the {k} called {e}", "{e}, {ak},", *("{e}",) * 3, "our {k} {e}", "a {k} called {e}",
              "that {k}, {e},", '"{e}"', "{e} ({k})", "{e} itself", "the {k} {w} {e}", "{e} (a {k})", "{e} ({w} {k})",
              "the {k} {w} {e}", "{w} {k} {e}", "{e}, the {k},", "{e} [the {k}]", "{e} ({w} {k})", "{e}: {w} {k}"),
    joins=("{1} and {2}", "{1} and also {2}", "{1}, and {2}", "first {1}, then {2}", "{1}, then {2}", "{1}, also {2}",
           "{1} and after that {2}", "{1} along with {2}", "{1} but also {2}", "{1} and then {2}", "{1}; {2}", "{1}, {2}",
           "not only {1} but {2}", "{1} and, if you can, {2}", "at first {1} and later {2}", "{1} next to {2}",
           *("{1} {w} {2}", "{1} {w} with {2}", "{1} {w} {v} as {2}", "{w} {1} and {2}", "{1}, {w} {2}", "{1} as {w} as {2}",
             "{1} {w} {v} {2}", "{1} and {w} {2}", "{w} {1} {v} {2}") * 2),
    follow_ups=("Also, ", "Then: ", "And ", "After that: ", "", "Second, ", "Besides, ", "Further, ", "Oh, and ", "Finally, ", "Moreover, ",
                "While you are at it: ", "Another thing. ", "Not to forget: ", "Then ", "In {w}, ", "And {w} {v}: ", "{w}, ", "{w}: ",
                "On {w}, ", "{w} {v}, "),
    endings=(*("",) * 8, " Thanks!", " Thank you.", " It is for a report.", " Be quick, please.", " I have to know it today.",
             " My boss is waiting.", " That is all.", *("",) * 4, " Thank you so much.", " Please.", " We need it now.", " I am in a hurry.",
             " That would help.", " Take your time.", " It matters.", " Nothing else for today.", " thx", " Best wishes.",
             " I am waiting here.", " Many {w}!", " No {w}.", " We all {w} {v}.", " I {w} {v}.", " {w}.", " {w} {v}!", " It {w} a {v}.",
             " You {w} to {v}."),
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
    entity = _fill(rng, entity_form, e=need.entity, k=need.kind, ak=article(need.kind))
    text = _fill(rng, form, a=need.attribute, e=entity, x=_extras(need), via=need.via)
    return text.replace(",'s", "'s").replace(",)", ")").replace(",,", ",").rstrip(","), f"{form}|{entity_form}"


def stated(need: Need) -> str:
    """A need in one plain sentence, whatever words it was asked in: "I need the annual price of Kelmora in 1987."."""
    return f"I need the {need.attribute}{f' of {need.entity}' if need.entity else ''}{_extras(need)}."


def _fill(rng: random.Random, form: str, *entries: str, **parts: str) -> str:
    coined = {slot: coin_word(rng, False) for slot in "wv" if f"{{{slot}}}" in form}
    return form.format(*entries, **parts, **coined)


def planned(first: Need, *rest: Need, chained: bool = False) -> str:
    """Several needs as they will be looked up: "I need the club of Wiring. Then the next match of Cidark.", and where what is found
    first is needed for the second (``chained``): "I need the club of Wiring. Then its next match."."""
    whose = [f"its {n.attribute}" if chained else f"the {n.attribute} of {n.entity}" for n in rest]
    return stated(first) + "".join(f" Then {text}{_extras(n)}." for text, n in zip(whose, rest, strict=True))


def _extras(need: Need) -> str:
    return "".join(" " + extra for extra in need.extras)


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


def request(rng: random.Random, needs: Sequence[Need], wording: Wording) -> tuple[str, str]:
    """(request, template): what a user says who has these needs, and the parts it was built from."""
    opening, ending = rng.choice(wording.openings), rng.choice(wording.endings)
    if not needs[0].entity:  # forgot to say of whom, or with what
        frame = rng.choice(wording.forgetful)
        body, template = _fill(rng, frame, a=needs[0].attribute, x=_extras(needs[0])), frame
    elif len(needs) == 1 or rng.random() < 0.6:  # one frame around all noun phrases
        frame = rng.choice(wording.frames)
        text, template = phrase(rng, needs[0], wording)
        for need in needs[1:]:
            join = rng.choice(wording.joins)
            more, more_template = phrase(rng, need, wording)
            text, template = _fill(rng, join, "", text, more), f"{template}|{join}|{more_template}"
        body, template = _fill(rng, frame, np=text), f"{frame}|{template}"
    else:  # a sentence for each need
        bodies, templates = [], []
        for k, need in enumerate(needs):
            frame = rng.choice(wording.frames)
            text, inner = phrase(rng, need, wording)
            follow_up = rng.choice(wording.follow_ups) if k else ""
            bodies.append(_capitalise(_fill(rng, follow_up) + _fill(rng, frame, np=text)))
            templates.append(f"{follow_up}{frame}|{inner}")
        body, template = " ".join(bodies), "||".join(templates)
    return _capitalise(_fill(rng, opening) + body) + _fill(rng, ending), f"{opening}|{template}|{ending}"
