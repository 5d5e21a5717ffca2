"""Episodes on disk: one line of JSON each, written when the episode ends, so that a killed evaluation goes on where it stopped."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from toolslm_helpers.agent.episode import Episode
from toolslm_helpers.agent.search import Key, key_of
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.files import DataError, WorkbookError

_EPISODE = TypeAdapter(Episode)


def episode_as_json(episode: Episode) -> dict[str, Any]:
    """The episode in JSON's own types."""
    return asdict(episode)


def episode_from_json(value: Any) -> Episode:
    """The inverse of ``episode_as_json``. Raises DataError that names the field."""
    try:
        return _EPISODE.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(f"episode: {'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}.") from error


class EpisodeLog:
    """A file of episodes that were played under one ``settings``: the first line says them, every other line is an episode.

    Opening it reads what is there; ``episodes`` goes to ``play_episodes`` as ``finished``, ``append`` as ``on_episode``. A last line that
    was cut by a kill is dropped: that episode is played again, and only that.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]):
        """Raises WorkbookError where the file holds episodes played under other settings, DataError where a line is damaged."""
        self.path, self.settings = Path(path), json.loads(json.dumps(dict(settings)))
        self.episodes: dict[Key, Episode] = {}
        whole = self._read() if self.path.is_file() else 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
        except OSError as error:
            raise WorkbookError(f"{self.path}: could not be opened for writing ({error.strerror}).") from error
        os.truncate(self.path, whole)
        if not whole:
            self._write({"settings": self.settings})

    def append(self, world_query: WorldQuery, episode: Episode) -> None:
        """Adds one episode; when this returns, a kill of the process does not lose it."""
        key = key_of(world_query)
        self._write({"set": key[0], "episode": episode_as_json(episode)})
        self.episodes[key] = episode

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "EpisodeLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, value: Any) -> None:
        self._file.write(json.dumps(value, ensure_ascii=True).encode("ascii") + b"\n")  # escapes: a surrogate has no UTF-8
        self._file.flush()

    def _read(self) -> int:
        """Takes in the lines that are whole; returns how many bytes they are."""
        whole = 0
        for number, line in enumerate(self._lines(), start=1):
            try:
                value = json.loads(line)
                if number == 1:
                    self._compare(value["settings"])
                else:
                    episode = episode_from_json(value["episode"])
                    self.episodes[value["set"], episode.query_id] = episode
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{self.path}: line {number}: not an episode ({error}). Usual cause: an edit by hand, or another file. "
                    "Remove the line, or the file to start over."
                ) from error
            whole += len(line)
        return whole

    def _lines(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):  # the last line of a killed process may lack its end
                    yield line

    def _compare(self, found: Mapping[str, Any]) -> None:
        for name in sorted({*found, *self.settings}):
            if found.get(name) != self.settings.get(name):
                raise WorkbookError(
                    f"{self.path}: its episodes were played with {name} = {found.get(name)!r}, asked for is {self.settings.get(name)!r}. "
                    "Usual cause: another model or search under the same name. Remove the file to start over, or write to another."
                )
