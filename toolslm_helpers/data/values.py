"""Values of the world: numbers, dates, times, names, lists; how they are drawn and how a sentence says them."""

import random

from toolslm_helpers.data.words import EXTRA_PARAMETERS, MONTHS, WORD_VALUES, coin_name, coin_word


def draw_date(rng: random.Random) -> str:
    """A date as ISO 8601 writes it, between 1950 and 2029; days up to 28, so that every month has them."""
    return f"{rng.randint(1950, 2029)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def draw_value(rng: random.Random, kind: str, held_out: bool) -> object:
    """A value of a kind: n integer, m one decimal, d date, t time of day, p coined name, w word, l list of two or three coined names."""
    match kind:
        case "n":
            return rng.randint(2, 10 ** rng.choice((2, 3, 3, 4)))
        case "m":
            return rng.randint(11, 9999) / 10
        case "d":
            return draw_date(rng)
        case "t":
            return f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
        case "p":
            return coin_name(rng, held_out)
        case "w":
            return rng.choice(WORD_VALUES)
        case "l":
            return [coin_word(rng, held_out).capitalize() for _ in range(rng.choice((2, 2, 3)))]
    raise ValueError(f"value kind {kind!r}; expected one of n m d t p w l")


def spoken(value: object) -> str:
    """A value as a sentence says it: numbers and text as they stand, a list as "A, B and C"."""
    if isinstance(value, list):
        return ", ".join(map(str, value[:-1])) + " and " + str(value[-1])
    return str(value)


def sentence(attribute: str, entity: str, value: object) -> str:
    """What an answer says of one value: "The annual price of Kelmora is 48." or, for a list, "The songs of Kelmora are A and B."."""
    return f"The {attribute} of {entity} {'are' if isinstance(value, list) else 'is'} {spoken(value)}."


def draw_extra(rng: random.Random, held_out: bool) -> tuple[str, object, str]:
    """(name, value, how a request says it) of a further parameter, such as ("year", 1987, "in 1987")."""
    name, _, form = rng.choice(EXTRA_PARAMETERS)
    value = draw_extra_value(rng, name, held_out)
    return name, value, form.format(value)


def said_as(rng: random.Random, name: str, value: object) -> str:
    """How a request says the value of a further parameter that is chosen already: ("year", 1987) -> "in the year 1987"."""
    return rng.choice([form for other, _, form in EXTRA_PARAMETERS if other == name]).format(value)


def draw_extra_value(rng: random.Random, name: str, held_out: bool) -> object:
    """A value for the further parameter of that name; open vocabulary (zones, groups, currencies, lines) follows the split."""
    ranges = {"year": (1950, 2029), "days": (2, 60), "limit": (2, 99), "version": (2, 30), "hour": (1, 23), "level": (2, 99),
              "floor": (2, 60), "code": (100, 9999)}  # fmt: skip
    if name in ranges:
        return rng.randint(*ranges[name])
    if name == "date":
        return draw_date(rng)
    if name == "month":
        return rng.choice(MONTHS)
    return coin_word(rng, held_out).capitalize()
