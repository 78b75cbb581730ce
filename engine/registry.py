"""Parts by name: built in, brought by an installed distribution (Python entry points), or `module:function`.

The one lookup of strategies, judges, sources, filters, benchmarks and backends. A distribution names its parts in the
groups `ecso_engine.strategies`, `ecso_engine.judges`, … of its metadata, which are read only where a name is not built
in, or where all are listed. Nothing is imported before it is asked for by name.

Rules: a built-in name cannot be taken, and two distributions cannot share one: that is an error as soon as the group is
read, whichever name was asked for. Whatever goes wrong in a part from outside names the distribution that brought it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine.errors import EcsoError, UsageError

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""Names become parts of folders and file names."""
CODE = (".py", ".txt", ".json", ".jinja", ".yaml", ".yml")
"""Files beside a module that stand for what it does: code, and prompts as text."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of part. `members`: what a thing of this kind has; `elsewhere`: `module:function` names one too."""

    one: str
    flag: str
    members: tuple[str, ...]
    elsewhere: bool = False
    more: str = ""
    """What else the flag takes, for the error message."""


JUDGE = ("name", "version", "prompt_sha256", "field", "open")
BENCHMARK = ("name", "kind", "source_note", "judges", "parts", "judge_for", "score")
BACKEND = ("capacity", "cost", "start", "generate", "stats", "close")
KINDS: Mapping[str, Kind] = {
    "strategies": Kind("strategy", "--strategy", ("__call__",), True, ", and module:function"),
    "judges": Kind("judge", "--judge", JUDGE, more=", and NAME=FILE for a Parquet file"),
    "sources": Kind("source", "--queries", ("name", "identity", "windows")),
    "benchmarks": Kind("benchmark", "--benchmark", BENCHMARK, True, ", and module:function"),
    "filters": Kind("filter", "filter", ("__call__",)),
    "backends": Kind("backend", "--backend", BACKEND, True, ", and module:function"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is not built in. `distribution` and `version` are "" for `module:function`."""

    kind: str
    name: str
    target: str
    distribution: str = ""
    version: str = ""
    summary: str = ""
    licence: str = ""
    problem: str = ""
    """Why it cannot be used, where that shows without importing it."""
    metadata: str = ""
    """The folder of the distribution's metadata."""

    @property
    def words(self) -> str:
        """Who it is, for an error message."""
        flag = f"{KINDS[self.kind].flag} {self.name}"
        return f"{flag} (from {self.distribution} {self.version}, {self.target})" if self.distribution else flag

    def facts(self) -> dict[str, str]:
        """What can change what it does: for the fingerprint, a judge's version, the records of curate and evaluate.
        UsageError where its module is not to be found."""
        found = {"target": self.target, "code_sha256": self.code_sha256()}
        return found | ({"distribution": self.distribution, "version": self.version} if self.distribution else {})

    def code_sha256(self) -> str:
        """Digest of its module, and where that lies in a package, of all code and texts in the module's folder: an
        edited prompt is another part, also where nobody raised the version."""
        with self.guarded():
            spec = find_spec(self.target.partition(":")[0])
        if spec is None or not spec.origin or not Path(spec.origin).is_file():
            raise UsageError(f"{self.words}: no module {self.target.partition(':')[0]!r} is to be found here")
        file = Path(spec.origin)
        files = [file]
        if spec.parent:
            folder = file.parent
            files = sorted(path for path in folder.rglob("*") if path.suffix in CODE and path.is_file())
        whole = hashlib.sha256()
        for path in files:
            whole.update(f"{path.relative_to(file.parent)}\0".encode() + path.read_bytes() + b"\0")
        return whole.hexdigest()

    def load(self) -> Callable[..., Any]:
        """What the target names. UsageError where it cannot be imported, or is nothing that can be called."""
        module, _, attribute = self.target.partition(":")
        expected = "" if self.distribution else "; expected module:function, importable from here"
        try:
            found: Any = import_module(module)
            for name in attribute.split("."):
                found = getattr(found, name)
        except Exception as error:
            raise UsageError(f"{self.words}: {_told(error)}{expected}") from error
        if not callable(found):
            raise UsageError(f"{self.words}: found a {type(found).__name__}, expected a function")
        _used.add(self)
        return found  # type: ignore[no-any-return]

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Inside: an error of its own code becomes a UsageError that says whose it is."""
        try:
            yield
        except EcsoError:
            raise
        except Exception as error:
            raise UsageError(f"{self.words}: {_told(error)}") from error


_used: set[Part] = set()


def used_files() -> list[str]:
    """What workers on other machines need of the parts from outside that were asked for in this process: each one's
    top package or module, and its distribution's metadata."""
    found = {part.metadata for part in _used if part.metadata}
    for part in _used:
        spec = find_spec(part.target.partition(":")[0].partition(".")[0])
        places = [] if spec is None else list(spec.submodule_search_locations or [spec.origin or ""])
        found |= {place for place in places[:1] if Path(place).exists()}
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Found:
    """What a name stands for. `part` None: built in."""

    kind: str
    factory: Callable[..., Any]
    part: Part | None = None

    def make(self, *arguments: Any, **options: Any) -> Any:
        """Call the factory; UsageError where one from outside fails, or makes something of another kind."""
        if self.part is None:
            return self.factory(*arguments, **options)
        from inspect import getattr_static

        with self.part.guarded():
            made = self.factory(*arguments, **options)
        # Without running properties: a backend's may have no value before it is started.
        missing = [name for name in KINDS[self.kind].members if getattr_static(made, name, None) is None]
        if missing:
            what = KINDS[self.kind].one
            raise UsageError(f"{self.part.words}: made a {type(made).__name__} without {missing[0]}, expected a {what}")
        return made


def find(kind: str, name: str, built_in: Mapping[str, Any]) -> Found:
    """What `name` stands for; `built_in`: name -> `module:function` or the factory itself.

    UsageError for a name that nobody has (with the nearest), for a part from outside that cannot be loaded, and for a
    distribution that claims a name which is not free.
    """
    if name in built_in:
        target = built_in[name]
        if callable(target):
            return Found(kind, target)
        module, _, attribute = str(target).partition(":")
        return Found(kind, getattr(import_module(module), attribute))
    part = part_of(kind, name, built_in)
    if part is None:
        raise UsageError(unknown(kind, name, built_in))
    return Found(kind, part.load(), part)


def part_of(kind: str, name: str, built_in: Mapping[str, Any]) -> Part | None:
    """The part from outside of that name; None for a built-in one and for one that nobody has. Imports nothing."""
    if name in built_in:
        return None
    if ":" in name:
        return Part(kind, name, name) if KINDS[kind].elsewhere else None
    for part in outside(kind, built_in):
        if part.problem:
            raise UsageError(f"{part.words}: {part.problem}")
        if part.name == name:
            return part
    return None


def facts_of(kind: str, name: str, built_in: Mapping[str, Any]) -> dict[str, str] | None:
    """`Part.facts` of a part from outside; None for a built-in one, and for a name that nobody has."""
    part = part_of(kind, name, built_in)
    return None if part is None else part.facts()


def outside(kind: str, built_in: Mapping[str, Any]) -> list[Part]:
    """All parts of a kind that installed distributions bring, those with problems first. Imports none of them."""
    from importlib.metadata import entry_points

    found = []
    for entry in entry_points(group=f"ecso_engine.{kind}"):
        of = entry.dist
        meta: Mapping[str, Any] = {} if of is None else of.metadata.json
        named = ("unknown", "0") if of is None else (of.name, of.version)
        licence = str(meta.get("license_expression") or meta.get("license") or "")
        target = entry.value.partition("[")[0].strip()
        told = (str(meta.get("summary") or ""), licence.partition("\n")[0], "")
        found.append(Part(kind, entry.name, target, *named, *told, str(getattr(of, "_path", ""))))
    return sorted((_checked(part, found, built_in) for part in found), key=_order)


def _order(part: Part) -> tuple[bool, str, str]:
    return not part.problem, part.name, part.distribution


def _checked(part: Part, every: list[Part], built_in: Mapping[str, Any]) -> Part:
    others = sorted({other.distribution for other in every if other.name == part.name} - {part.distribution})
    problem = ""
    if part.name in built_in:
        problem = f"the name {part.name} is built in and cannot be taken; ask for another name, or uninstall it"
    elif NAME.fullmatch(part.name) is None:
        problem = "a name is made of lower-case letters, digits and _, 40 at most"
    elif others:
        problem = f"{others[0]} brings a {KINDS[part.kind].one} of the same name; uninstall one of them"
    elif ":" not in part.target:
        problem = f"its entry point is {part.target!r}, expected module:function"
    return replace(part, problem=problem)


def unknown(kind: str, name: str, built_in: Mapping[str, Any]) -> str:
    """The message for a name that nobody has."""
    known = [*built_in, *(part.name for part in outside(kind, built_in))]
    close = get_close_matches(name, known, 1)
    hint = f"; did you mean {close[0]}?" if close else ";"
    about = KINDS[kind]
    return f"{about.flag} {name}: unknown{hint} There are {', '.join(known)}{about.more} (python -m engine.list {kind})"


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
