"""YAML as text with places: every value stays the characters that stood in the file.

A YAML loader would make 100.00 a float, 2026-11-23 a date, 010 a 10 and 1e999 infinity. So the tree is built
from the parser's events, and only the scenario's own parsers give a text its meaning. Building from events
also bounds the depth without recursion, and refuses tags, anchors and aliases before anything is expanded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from arbsim.scenario.mistakes import MISTAKES_MAX, Mistake, ScenarioError, shown
from arbsim.scenario.source import Source

DEPTH_MAX = 24
_FATAL = ("E102", "E104", "E105")
_EMPTY = ("", "~", "null", "Null", "NULL")


@dataclass(slots=True)
class Scalar:
    """A single value; ``text`` is None where nothing was written (or ``null``, or ``~``)."""

    start: int
    end: int
    text: str | None

    @property
    def is_filled(self) -> bool:
        """Whether anything stands in it."""
        return self.text is not None


@dataclass(slots=True)
class Sequence:
    """A list."""

    start: int
    end: int
    items: list[Node] = field(default_factory=list)

    @property
    def is_filled(self) -> bool:
        """Whether anything stands in it."""
        return bool(self.items)


@dataclass(slots=True)
class Mapping:
    """Keys and values; the first of two equal keys counts."""

    start: int
    end: int
    pairs: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)

    @property
    def is_filled(self) -> bool:
        """Whether anything stands in it."""
        return bool(self.pairs)


Node = Scalar | Sequence | Mapping


def compose(source: Source) -> tuple[Node | None, list[Mistake]]:
    """Return the tree of a YAML text (None where it is empty), and the keys in it that cannot be used.

    Raises ScenarioError where the text is not YAML or has something that scenarios do not allow, with all of
    it as far as the text can be read.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    composer = _Composer(source)
    try:
        for event in YAML(typ="safe", pure=True).parse(source.text):
            composer.take(event)
    except YAMLError as error:
        composer.mistakes.append(_syntax_mistake(source, error))
    except (RecursionError, ValueError, IndexError, AssertionError, OverflowError):
        # The parser's own limits, met by texts made to break it.
        composer.mistakes.append(source.mistake("E102", 0, 1, "this is not YAML"))
    except _TooMuchError:
        pass
    fatal = [mistake for mistake in composer.mistakes if mistake.code in _FATAL]
    if fatal:
        raise ScenarioError(fatal)
    return composer.root, composer.mistakes


def plain(node: Node | None) -> Any:
    """Return a tree as dicts, lists, texts and None."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, (_, value) in node.pairs.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return node.text if node is not None else None


def find(root: Node, path: tuple[int | str, ...], *, key: bool = False) -> Node:
    """Return the node at a path; where the path leaves the tree, the last node that was on it.

    Parts that name nothing (such as the names of alternatives) are passed over. ``key`` asks for the last key
    rather than its value.
    """
    node = root
    key_node: Node | None = None
    for part in path:
        if isinstance(node, Mapping) and str(part) in node.pairs:
            key_node, node = node.pairs[str(part)]
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            key_node, node = None, node.items[part]
    return key_node if key and key_node is not None else node


class _TooMuchError(Exception):
    """There is no use in reading on."""


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read; ``key`` is the key that waits for its value."""

    node: Sequence | Mapping
    key: Scalar | None = None
    skip_value: bool = False


class _Composer:
    """Takes the parser's events one by one and keeps the branch that is open."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.root: Node | None = None
        self.mistakes: list[Mistake] = []
        self._open: list[_Open] = []
        self._documents = 0

    def take(self, event: Any) -> None:
        """Take one event of ruamel.yaml's parser."""
        kind = type(event).__name__
        start, end = event.start_mark.index, event.end_mark.index
        if kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                self._refuse(
                    "E104", start, start + 3, "a scenario is one document", 'remove the second "---"'
                )
                raise _TooMuchError
        elif kind == "AliasEvent":
            self._refuse("E104", start, end, "aliases are not allowed", "write the value out")
            self._add(Scalar(start, end, ""))
        elif kind == "ScalarEvent":
            self._check_properties(event, start, end)
            written = event.style is not None or event.value not in _EMPTY
            self._add(Scalar(start, end, event.value if written else None))
        elif kind in ("SequenceStartEvent", "MappingStartEvent"):
            self._check_properties(event, start, end)
            node = Sequence(start, end) if kind == "SequenceStartEvent" else Mapping(start, end)
            self._add(node)
            self._open.append(_Open(node))
            if len(self._open) > DEPTH_MAX:
                self._refuse("E105", start, end, f"nested deeper than {DEPTH_MAX} levels", "")
                raise _TooMuchError
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            self._open.pop().node.end = end

    def _check_properties(self, event: Any, start: int, end: int) -> None:
        if event.anchor is not None:
            self._refuse(
                "E104", start, end, "anchors are not allowed", "write the value out where it is used"
            )
        if event.tag is not None:
            self._refuse(
                "E104",
                start,
                end,
                f"the tag {shown(str(event.tag))[:60]} is not allowed",
                "a scenario is plain data",
            )

    def _refuse(self, code: str, start: int, end: int, message: str, hint: str) -> None:
        self.mistakes.append(self.source.mistake(code, start, end, message, hint))
        if len(self.mistakes) >= MISTAKES_MAX:
            raise _TooMuchError

    def _add(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        opened = self._open[-1]
        if isinstance(opened.node, Sequence):
            opened.node.items.append(node)
        elif opened.key is None:
            opened.key, opened.skip_value = self._check_key(opened.node, node)
        else:
            if not opened.skip_value:
                opened.node.pairs[opened.key.text or ""] = (opened.key, node)
            opened.key = None

    def _check_key(self, mapping: Mapping, node: Node) -> tuple[Scalar, bool]:
        """Return the key, and whether its value is to be dropped."""
        if not isinstance(node, Scalar) or node.text is None:
            self._refuse("E109", node.start, node.end, "a key must be a word or a number", "")
            return Scalar(node.start, node.end, ""), True
        if node.text == "<<":
            self._refuse("E104", node.start, node.end, "merge keys are not allowed", "write the values out")
            return node, True
        if node.text in mapping.pairs:
            line, _ = self.source.place(mapping.pairs[node.text][0].start)
            message = f'"{node.text[:60]}" already stands in line {line}'
            self._refuse("E106", node.start, node.end, message, "remove one of them")
            return node, True
        return node, False


def _syntax_mistake(source: Source, error: Exception) -> Mistake:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or "this is not YAML")
    offset = mark.index if mark is not None else 0
    if "'\\t'" in problem or source.text[offset : offset + 1] == "\t":
        return source.mistake("E102", offset, offset + 1, "a tab cannot indent YAML", "use spaces")
    hint = (
        "a text that holds a colon, a comma or brackets needs quotes" if "mapping values" in problem else ""
    )
    return source.mistake("E102", offset, offset + 1, f"this is not YAML: {problem}"[:200], hint)
