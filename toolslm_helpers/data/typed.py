"""How people type when nobody proofreads: requests grown from a small grammar, for training only.

``wording`` builds requests as a careful writer does, with a verb in front and the name last. People also begin with the name, leave the verb
out, ask in two sentences, or put a bracket where a word belongs. Here a symbol in braces becomes one of its forms until only words are left.
Much of what grows so nobody would say: a reader who has met everything around an attribute and a name looks at nothing but these two.
No held-out wording can be grown; ``tests/data/test_typed.py`` looks for every one of them.
"""

import random
import re
from collections.abc import Mapping, Sequence

from toolslm_helpers.data.wording import Need
from toolslm_helpers.data.words import article, coin_word


def _weighted(text: str) -> tuple[str, ...]:
    """Forms, a line each, as often as the number before them says."""
    lines = [line.strip().split(" ", 1) for line in text.strip().splitlines()]
    return tuple(form for number, form in lines for _ in range(int(number)))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


# {a} attribute, {e} entity, {k} its kind, {ak} that kind with its article; {x} what else is said ("in 1987"), with a space before it, {X} the
# same in front of a sentence; {whom} the entity in some form, in a chain what it leads to ("Kelmora's director"); {want} the attribute, in a
# chain with the way to it ("its director's age"); {w} a coined word that means nothing.
GRAMMAR: Mapping[str, tuple[str, ...]] = {
    "request": _weighted("""
        5 {asking} {np}{x}{tail}
        1 {X}{asking} {np}{tail}
        3 {np}{x}{tail}
        1 {np}{x} {end}
        1 {X}{np}{tail}
        4 {about}{sep}{wish}{x}{tail}
        1 {about}{x}{sep}{wish}{tail}
        1 {X}{about}{sep}{wish}{tail}
        1 {wish}{x}{sep}{about}
        1 {a} ({whom}){x}{tail}
        1 {a}{sep}{whom}{x}{tail}
        1 {how} {a}{x} {does} {whom} have{x}?
        1 {how} {a} {does} {whom} have{x}?
        1 {how} {a} has {whom}{x}{tail}
        1 {how} {a} {is} there {link} {whom}{x}?
        1 {how} {is} {whom}'s {a}{x}?
        1 {how} will {np} be{x}?
        1 {whom} has {how} {a}{x}?
        1 {whom} has a {a}{x}{sep}{qs} that?
        1 {is} there a {a} {link} {whom}{x}?
        1 {does} {whom} have a {a}{x}?
        1 {ask} {say} {how} {a} {whom} has{x}
        1 {ask} {say} {how} {np} {is}{x}"""),
    "follow-up": _weighted("""
        2 {qs} {its} {want}{x}{tail}
        1 {asking} {its} {want}{x}{tail}
        2 {its} {want}{x}{tail}
        1 the {want}{x}{tail}
        1 {want}{x}{tail}
        1 the {k}'s {want}{x}{tail}
        1 {qs} the {k}'s {want}{x}?"""),
    "forgetful": _weighted("""
        3 {asking} the {a}{x}{tail}
        1 {X}{asking} the {a}{tail}
        1 the {a}{x}{tail}
        1 {a}{x}{tail}"""),
    # An attribute and its entity in one phrase.
    "np": _words("the {a} of {whom}|the {a} of {whom}|the {a} of {whom}|the {a} {link} {whom}|the {a} {link} {whom}|"
                 "the {a} for {whom}|{whom}'s {a}|{whom}'s {a}|{whom}'s {a}|{a} {link} {whom}|{a} of {whom}|{a} {whom}|"
                 "{whom} {a}|the {a} that {whom} has|the {a} {w} {whom}|a {a} {link} {whom}"),
    # What it is about, and what is wanted of it.
    "about": _words("{E}|{E}|{E}|{link} {E}|{intro} {E}|{intro} {E}|{intro} {E}|{intro} {E} {rel}|{E} {rel}|"
                    "{E}, the {k} {rel}|{intro} {ak} called {e}|{k}: {e}|{k} {e}|the {k} {e}|{w} {E}|my {w} has {E}"),
    "wish": _words("{want}|{want}|the {want}|{its} {want}|{its} {want}|{asking} {its} {want}|{asking} {its} {want}|"
                   "{asking} the {want}|{qs} {its} {want}|{qs} {its} {want}|{qs} the {want}|{its} {want} {end}|"
                   "{how} {want} {is} that {k}|{qs} the {k}'s {want}"),
    "E": _words("{e}|{e}|{e}|{e}|{k} {e}|{k} {e}|the {k} {e}|the {k} {e}|the {k} {e}|the {k} {e}|{e}, the {k}|our {k} {e}|"
                '{ak} called {e}|the {k} called {e}|{e} ({k})|{e} (the {k})|"{e}"|that {k} {e}|the {w} {k} {e}|'
                "the {k} {w} {e}"),
    # What leads to it, and what comes after it.
    "asking": _words("{say}|{ask} {say}|{ask} {say}|{ask} {say}|{qs}|{qs}|{qs}|{qs}|{qs}|{how} {is}|{cant}|{cant}|{cant}|"
                     "{whose} {who} {wants}|{whose} {who} {wants}|{hi}, {qs}"),
    "tail": _words("|||||||?|?|?|, {bye}|. {bye}|. {qs} that?|, {cant} it|. {whose} {who} {wants} it|, {qs} it?"),
    "and": _words(" and | and | and |, and |, and |, |; |. |. |. |? |? |? And |? And |, then |. Then |. Also | / |, oh and |"
                  ". Oh, and |, but also |. The other thing: | - and |, with |. {hi}, |. {w}, | {w} "),
    "counted": _words("||||||||||||first |first: |two things: |two questions: |two at once: "),
    "sep": _words(": |: |: | - |, |, |, |. |. |. |; | / |? |! | "),
    # Words.
    "link": _words("of|for|of|for|of|at|from|with|by|on|in|to|near|under|about|within|{w}|{w} to|{w} for"),
    "its": _words("its|its|its|its|its|the|the|his|her|their|that|this"),
    "qs": _words("what's|what's|who's|whats|where's|when's|what is|what is|what is|who is|which is|what are|when is|how is|"
                 "what was|who was|when was|what were|{how} {is}|{how} {is}"),
    "how": _words("what|what|what|what|which|which|which|who|when|what exactly|how much|how many|how high|how big|how long|"
                  "how far|how old|where|whose|{w}"),
    "is": _words("is|is|is|was|are|were|may be|can be|must be"),
    "does": _words("does|does|does|did|do|will|can"),
    "say": _words("tell me|tell me|tell us|find|find out|look up|get|get me|fetch|bring me|show me|show me|give me|give me|"
                  "send me|send|read out|check|dig up|write down|report|name|list|pull up|note|confirm|print|provide|"
                  "search for|see|help me with|{w}|{w}|{w} me"),
    "ask": _words("can you|can you|could you|would you|will you|please|please|kindly|I want you to|I need you to|you should|"
                  "try to|help me to|are you able to|do you think you can|is it possible to|let me|I would like to|"
                  "I have to|we need to|I was told to|who can|how do I|how can I|where do I|is there a way to|{w} you|"
                  "please {w} and"),
    "cant": _words("I can't find|I don't know|we haven't got|I'm after|I'd like|I'm looking for|I'd love to know|"
                   "I'd be happy with|I've lost|I'm missing|I still need|I need|I need|we need|we want|still missing|wanted|"
                   "needed|asked for|I'm to report|I was going to ask about|I'd {w}|I'm {w}|I {w}|can't {w}"),
    "whose": _words("my|our|the|her|his|a|some|their|your|my old|our new"),
    "who": _words("boss|mother|father|neighbour|customer|teacher|friend|cousin|uncle|aunt|editor|coach|landlord|nurse|"
                  "captain|wife|husband|daughter|son|office|class|team|club|mayor|doctor|student|guest|driver|chief|partner|"
                  "group|family|{w}|{w}"),
    "wants": _words("wants|needs|asks for|is asking for|would like|would like to see|has to know|must know|demands|"
                    "is waiting for|looks for|hopes for|keeps asking for|cares about|depends on|is after|is interested in|"
                    "wishes to see|would love|called about|cannot find|forgot|lost|{w}s|{w}ed for"),
    "intro": _words("there is|I have|we have|it is about|this is about|I mean|I speak of|I am talking of|think of|take|"
                    "I am reading about|it concerns|my question concerns|I was at|I know|do you know|you know|"
                    "have you heard of|I found|I met|here is|remember|again about|about|we spoke of|my topic is|"
                    "I am working on|I am writing on|I just saw|someone mentioned|they told me of|we visited|I am here for|"
                    "I {w}|I {w} {w} for|my {w} says|so this"),
    "rel": _words("my kids go to|I passed today|we all like|that everybody knows|near us|from the list|you know|I mentioned|"
                  "over there|in my notes|on my ticket|stuck in my head|on my screen|from yesterday|I told you about|"
                  "that I {w}|we {w}|who {w}s|in {w}|of the {w}"),
    "end": _words("would help|would help me|would be nice|would be good|would do|is needed|is wanted|is missing|"
                  "is what I need|is what I want|is all I need|is required|is unknown to me|interests me|matters to me|"
                  "is my question|has to be found|has to be in my report|please|should be easy|is unclear|is what they ask|"
                  "I need|I want|we need|I forgot|I lost|I cannot find|is {w}|I {w}"),
    "hi": _words("hi|hello|ok|okay|so|well|hm|right|now|good|thanks|sorry|excuse me|again|question|next question|"
                 "one question|small thing|a small favour|listen|look|as I said|to begin|for my notes|for the files|"
                 "for work|for school|by the way|urgent|help please|just so I know|before I forget|different topic|{w}|"
                 "{w} {w}|oh {w}"),
    "bye": _words("thanks|thank you|please|thanks a lot|if possible|if you have it|as soon as possible|today|right away|"
                  "quickly|I hope|or so|ok|right|that's it|nothing more|that is everything|for a friend|for our records|"
                  "for tomorrow|before lunch|I am late|much appreciated|I forgot it|I need it soon|can't find it anywhere|"
                  "only that|I'd be glad|it is for school|{w}|{w} {w}|I {w}"),
}  # fmt: skip

# A chain of two calls: the entity that is asked about is what another one leads to.
_CHAIN_WHOM = _words("the {via} of {E}|the {via} of {E}|the {via} {link} {E}|{E}'s {via}|{E}'s {via}|the {k} {e}'s {via}")
_CHAIN_WANT = _words("{a} of its {via}|{a} of the {via}|{a} of that {via}|{a} {link} its {via}|{via}'s {a}|{via}'s {a}")


def typed_request(rng: random.Random, needs: Sequence[Need]) -> tuple[str, str]:
    """(request, template): what somebody types who has these needs, and the forms at the root of what was grown.

    What is wanted of the same entity as before need not name it again ("... and its coach").
    """
    text, template = _grown(rng, "request" if needs[0].entity else "forgetful", needs[0])
    for before, need in zip(needs, needs[1:], strict=False):
        again = need.entity == before.entity and rng.random() < 0.7
        more, form = _grown(rng, "follow-up" if again else "request", need)
        text += _expanded(rng, "{and}", {}) + more
        template += f"|{form}"
    if len(needs) > 1:
        text = _expanded(rng, "{counted}", {}) + text
    if rng.random() < 0.15:
        text = _expanded(rng, "{hi}{sep}", {}) + text
    return _as_typed(rng, text), f"typed|{template}"


def _grown(rng: random.Random, start: str, need: Need) -> tuple[str, str]:
    """(text, form it began with) for one need; a form that would say twice what else is said is drawn again."""
    said = "".join(f" {extra}" for extra in need.extras)
    parts = {
        "a": need.attribute, "e": need.entity, "k": need.kind, "ak": article(need.kind), "via": need.via,
        "x": rng.choice((said, said, said, f",{said}", f" ({said[1:]})")) if said else "",
        "X": said[1:] + rng.choice((", ", ": ", " ", " - ")) if said else "",
        "whom": rng.choice(_CHAIN_WHOM) if need.via else "{E}", "want": rng.choice(_CHAIN_WANT) if need.via else "{a}",
    }  # fmt: skip
    form = rng.choice(GRAMMAR[start])
    while said and form.lower().count("{x}") != 1:
        form = rng.choice(GRAMMAR[start])
    return _expanded(rng, form, parts), form


def _expanded(rng: random.Random, form: str, parts: Mapping[str, str]) -> str:
    """``form`` with its symbols replaced, again and again, by ``parts``, coined words and forms of the grammar."""

    def replaced(symbol: re.Match[str]) -> str:
        name = symbol[1]
        if name == "w":
            return coin_word(rng, False)
        return _expanded(rng, parts[name] if name in parts else rng.choice(GRAMMAR[name]), parts)

    return re.sub(r"\{(\w+)\}", replaced, form)


def _as_typed(rng: random.Random, text: str) -> str:
    """The text with a typist's habits: articles and marks left out, capitals or none, one mark too many at the end."""
    text = re.sub(r"\?\s*[.,:;]", "?", text.replace(",'s", "'s"))  # where an end met a beginning
    text = re.sub(r"([.,:;])\s*[.,:;]", r"\1", text)
    if rng.random() < 0.3:
        text = re.sub(r"\b[Tt]he ", lambda found: "" if rng.random() < 0.7 else found[0], text)
    if rng.random() < 0.25:
        text = re.sub(r"[.?!,;:]+", lambda found: "" if rng.random() < 0.5 else found[0], text)
    if rng.random() < 0.6:
        text = text[:1].upper() + text[1:]
    if rng.random() < 0.5:
        text = re.sub(r"([.?!] )([a-z])", lambda found: found[1] + found[2].upper(), text)
    if rng.random() < 0.35:
        text += rng.choice(("?", "?", ".", ".", "!", "??", " !", "...", " ?"))
    return " ".join(text.split()).lstrip(",;:.?!-/= ")
