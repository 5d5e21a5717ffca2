"""The words of the embedded world: what its categories speak of, and how names are coined.

Names of people, places and tools are coined, so that a model must read and copy them; it cannot remember them. A coined word is
held out (for test queries only) when a checksum of its letters says so: the split needs no list, and a test can prove it.
"""

import random
import zlib
from dataclasses import dataclass

# Value kinds of an attribute: n number, m number with a decimal, d date, t time of day, p coined name, w word, l list of names.


@dataclass(frozen=True)
class Theme:
    """What one category is about: kinds of entity that can be asked about, and attributes as (noun, value kind)."""

    category: str
    kinds: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]


def _theme(category: str, kinds: str, attributes: str) -> Theme:
    return Theme(category, tuple(kinds.split()), tuple(tuple(a.split(":")) for a in attributes.split()))  # type: ignore[arg-type]


SEEN_THEMES = (
    _theme("Weather", "city station valley", "temperature:n humidity:n rainfall:m pressure:n snowfall:m sunrise:t sunset:t visibility:n "
           "forecaster:p storms:l warning:w frost:d breeze:m"),
    _theme("Finance", "stock fund bank", "price:m yield:m volume:n dividend:m fee:m founder:p rating:n margin:m auditor:p branches:l debt:n "
           "broker:p interest:m"),
    _theme("Sports", "team player stadium", "score:n ranking:n coach:p captain:p capacity:n salary:n goals:n rivals:l kickoff:t league:p "
           "penalty:n debut:d trainer:p"),
    _theme("Movies", "film actor studio", "director:p runtime:n budget:n genre:w premiere:d awards:l producer:p audience:n sequel:p script:p "
           "ticket:m cast:l screening:t"),
    _theme("Music", "song band album", "singer:p tempo:n length:n drummer:p tracks:l release:d concert:d lyrics:p tour:l rehearsal:t royalty:m "
           "composer:p plays:n"),
    _theme("Travel", "hotel flight route", "distance:n departure:t arrival:t fare:m rooms:n guide:p stops:l checkout:t baggage:n booking:d "
           "airline:p terminal:p discount:n"),
    _theme("Food", "recipe restaurant dish", "calories:n protein:n chef:p ingredients:l opening:t waiter:p spice:w portion:n menu:l sugar:m "
           "cook:p table:n flavor:w"),
    _theme("Education", "course school library", "teacher:p credits:n tuition:n enrollment:n deadline:d subjects:l principal:p lesson:t exam:d "
           "grade:n student:p books:n lecture:t"),
    _theme("Medical", "clinic drug ward", "dosage:n doctor:p beds:n nurse:p symptoms:l surgery:d visits:n vaccine:p therapy:w waiting:n "
           "expiry:d patients:n shift:t"),
    _theme("Logistics", "parcel depot ship", "weight:m cargo:w driver:p delivery:d tracking:n customs:m harbor:p pallets:n dispatch:t "
           "carrier:p postage:m containers:l pickup:t"),
    _theme("Gaming", "game quest guild", "level:n boss:p reward:n weapon:p heroes:l difficulty:w update:d players:n bonus:n wizard:p health:n "
           "event:d armor:p"),
    _theme("Shopping", "product shop brand", "cost:m supply:n seller:p warranty:n colors:l refund:d returns:n material:w size:n cashier:p "
           "coupon:p shipping:m maker:p"),
)  # fmt: skip

UNSEEN_THEMES = (
    _theme("Astronomy", "planet comet telescope", "diameter:n gravity:m orbit:n moons:l observer:p brightness:m eclipse:d mission:p rotation:m "
           "radius:n discoverer:p moonrise:t crater:p"),
    _theme("Farming", "farm crop tractor", "harvest:d acreage:n farmer:p fertilizer:m livestock:n irrigation:m barn:p pests:l sowing:d "
           "breeder:p milking:t horsepower:n orchard:p"),
    _theme("Museums", "museum painting statue", "painter:p curator:p visitors:n exhibits:l century:n donor:p entrance:m restoration:d "
           "sculptor:p closing:t gallery:p insurance:m owner:p"),
    _theme("Energy", "reactor turbine battery", "voltage:n output:m operator:p emissions:n fuel:w inspection:d lifetime:n engineer:p outage:t "
           "efficiency:m supplier:p sensors:l charge:n"),
)  # fmt: skip

MODIFIERS = tuple(
    "average annual weekly daily monthly total current minimum maximum latest typical official estimated local net gross hourly nightly "
    "peak first last next previous standard special public private main basic final".split()
)

# Nouns that many trades share, so that a category's own words are not its fingerprint. Training categories only.
SHARED_ATTRIBUTES = tuple(
    tuple(a.split(":"))
    for a in (
        "manager:p status:w code:n address:p age:n color:w phone:n country:p language:p website:p members:l partner:p district:p limit:n "
        "duration:n quality:w account:n amount:n area:n assistant:p balance:m category:w center:p channel:p client:p condition:w contact:p "
        "contract:d demand:n designer:p editor:p floor:n format:w gain:m group:p height:n index:n inventor:p landlord:p location:p loss:m "
        "mayor:p message:p model:p name:p number:n order:n origin:p parking:n period:n population:n position:n profit:m purchase:d quantity:n "
        "range:n record:n region:p renewal:d report:d response:t result:w risk:w sales:n schedule:t season:w series:p service:p signal:n "
        "speed:m sponsor:p start:d stock:n street:p style:w tax:m tutor:p turnover:n usage:n value:m version:n village:p width:n writer:p"
    ).split()
)  # fmt: skip

WORD_VALUES = tuple(
    "open closed high low mild strong weak green red blue plain rare calm bright dark quiet fresh heavy light stable".split()
)

# Further parameters an API may take: (name, kind, how a query says it). {} is the value.
EXTRA_PARAMETERS = (
    ("year", "number", "in {}"), ("year", "number", "in the year {}"), ("date", "string", "on {}"), ("date", "string", "for the date {}"),
    ("days", "number", "over {} days"), ("limit", "number", "with a limit of {}"), ("version", "number", "in version {}"),
    ("month", "string", "in {}"), ("currency", "string", "in the currency {}"), ("zone", "string", "in zone {}"),
    ("hour", "number", "at hour {}"), ("level", "number", "at level {}"), ("group", "string", "for the group {}"),
    ("floor", "number", "on floor {}"), ("line", "string", "on line {}"), ("code", "number", "with code {}"),
)  # fmt: skip

MONTHS = tuple("January February March April May June July August September October November December".split())

_ONSETS = tuple("b br c ch cl d dr f fl g gr h j k l m n p pl pr r s sc sh sl sp st t th tr v w y z".split()) + ("",)
_VOWELS = tuple("a e i o u a e i o u a e i o u ai ea ee oa ou ie".split())
_CODAS = ("",) * 20 + tuple("n r l s t m nd nt rk st ck x ng sh ll ss th rd".split())


def _fragments() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Beginnings and endings of the training words: names spliced from them share every piece that real words are made of."""
    words = [w for theme in SEEN_THEMES for w in (*theme.kinds, *(a for a, _ in theme.attributes))]
    words += [a for a, _ in SHARED_ATTRIBUTES] + list(MODIFIERS)
    words = [w for w in words if len(w) >= 5]
    return tuple(w[: 3 + len(w) % 2] for w in words), tuple(w[-3 - len(w) % 3 :] for w in words)


_BEGINNINGS, _ENDINGS = _fragments()


def is_held_out(text: str) -> bool:
    """True where the last word of ``text`` belongs to the test split: one coined word in five, by CRC-32 of its lower-case letters."""
    words = "".join(c if c.isalpha() else " " for c in text.lower()).split()
    return bool(words) and zlib.crc32(words[-1].encode()) % 5 == 0


# A coined word is refused where it holds one of these: schoolrooms read them, and held-out words must stay unseen.
_RUDE = tuple(
    "fuc fuk shit shat cunt kunt dick cock fag nig tit cum slut whor rape piss twat porn sex nazi anus puss arse poo bitch damn butt".split()
)
_RESERVED = frozenset(w for theme in UNSEEN_THEMES for w in (*theme.kinds, *(a for a, _ in theme.attributes)))
# A held-out word must not be a real one of training either; among training's coined words a few real ones do no harm.
_REAL = frozenset(MODIFIERS).union(
    [a for a, _ in SHARED_ATTRIBUTES], *((*theme.kinds, *(a for a, _ in theme.attributes)) for theme in SEEN_THEMES)
)


def coin_word(rng: random.Random, held_out: bool) -> str:
    """One coined lower-case word of 4 to 8 letters, from the test split where ``held_out``, else from the training split."""
    while True:
        if rng.random() < 0.35:
            word = rng.choice(_BEGINNINGS) + rng.choice(_VOWELS[:15]) * (rng.random() < 0.4) + rng.choice(_ENDINGS)
        else:
            count = rng.choice((1, 2, 2, 2))
            word = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(count))
        if 4 <= len(word) <= 8 and _may_stand(word, held_out):
            return word


def _may_stand(word: str, held_out: bool) -> bool:
    """True where a coined word belongs to that split and is none that must not be written."""
    refused = word in _RESERVED or (held_out and word in _REAL) or any(r in word for r in _RUDE)
    return is_held_out(word) == held_out and not refused


def odd_word(rng: random.Random) -> str:
    """One lower-case word of 3 to 9 letters of the training split as nobody would coin it: letters at random, or a letter doubled in a
    coined word. It can be copied only letter by letter."""
    while True:
        if rng.random() < 0.5:
            word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 7)))
        else:
            word = coin_word(rng, False)
            k = rng.randrange(1, len(word))
            word = word[:k] + word[k - 1] + word[k:]
        if _may_stand(word, False):
            return word


def article(noun: str) -> str:
    """The noun with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def coin_name(rng: random.Random, held_out: bool) -> str:
    """A coined proper name of one or two capitalised words, for people, places and things."""
    words = [coin_word(rng, held_out).capitalize() for _ in range(rng.choice((1, 1, 1, 2)))]
    return " ".join(words)
