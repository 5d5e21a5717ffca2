"""What an endpoint sent back, read: whatever it is, it becomes a verdict or none, and never an exception."""

import json
import re
from collections.abc import Sequence
from typing import Any

_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


def content(completion: Any) -> tuple[str, int, int]:
    """(text, tokens in, tokens out) of a completion; nothing where an endpoint sent something else under that name."""
    choices, used = getattr(completion, "choices", None), getattr(completion, "usage", None)
    text = getattr(getattr(choices[0], "message", None), "content", None) if isinstance(choices, list) and choices else None
    tokens = [getattr(used, name, None) for name in ("prompt_tokens", "completion_tokens")]
    counted = [count if isinstance(count, int) and count > 0 else 0 for count in tokens]
    return text if isinstance(text, str) else "", counted[0], counted[1]


def read_verdict(text: str, labels: Sequence[str]) -> tuple[str, str] | None:
    """(label, reason) out of a reply: a JSON object, alone or with words around it. None where there is none or its label is another."""
    found = _OBJECT.search(text)
    try:
        parsed = json.loads(found[0], strict=False) if found else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("label"), str):
        return None
    label, reason = parsed["label"].strip().lower(), parsed.get("reason")
    return (label, reason if isinstance(reason, str) else "") if label in labels else None
