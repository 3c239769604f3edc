"""The tokens of the text of modules, and a cursor over them whose errors show the line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

from .errors import ParseError
from .types import ELEMENT_TYPES

_STRING = r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
_TOKEN = re.compile(
    rf"""
    (?P<skip>(?:\s|\#[^\n]*)+)
  | (?P<value>%(?:[\w$./-]+|{_STRING})(?:\#[0-9]+)?)
  | (?P<at>@(?:[\w$./-]+|{_STRING}))
  | (?P<type>(?:{"|".join(ELEMENT_TYPES)})\[[^\[\]"\n]*\])
  | (?P<string>{_STRING})
  | (?P<digest>sha256:[0-9a-f]+)
  | (?P<number>0x[0-9a-fA-F]+|[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)
  | (?P<word>[^\W\d]\w*)
  | (?P<mark>\.\.\.|->|//|==|!=|>=|[-+*<(){{}}\[\],:=])
  | (?P<bad>.)
""",
    re.VERBOSE,
)
_MAX_DEPTH = 60  # of regions, and of brackets in one literal or dimension
_SHOWN = 120


class Tokens:
    """A cursor over the tokens of ``source[start:end]``."""

    def __init__(self, source: str, start: int, end: int) -> None:
        self.source = source
        found = [
            (m.lastgroup, m.group(), m.start()) for m in _TOKEN.finditer(source, start, end) if m.lastgroup != "skip"
        ]
        found.append(("end", "", end))
        self.kinds = [kind for kind, _, _ in found]
        self.texts = [text for _, text, _ in found]
        self.starts = [position for _, _, position in found]
        self.i = 0
        self.depth = 0

    @property
    def kind(self) -> str | None:
        return self.kinds[self.i]

    @property
    def text(self) -> str:
        return self.texts[self.i]

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        """Raise a ParseError that shows the line of token ``at``, by default the next one."""
        position = self.starts[self.i if at is None else at]
        number = self.source.count("\n", 0, position) + 1
        first = self.source.rfind("\n", 0, position) + 1
        last = self.source.find("\n", position)
        line, column = self.source[first : last if last >= 0 else len(self.source)], position - first
        if column > _SHOWN * 2 // 3:
            cut = column - _SHOWN // 2
            line, column = "..." + line[cut:], column - cut + 3
        line = line if len(line) <= _SHOWN else line[:_SHOWN] + "..."
        raise ParseError(f"line {number}: {message}\n  {line}\n  {' ' * column}^")

    def expected(self, what: str) -> NoReturn:
        """Raise a ParseError: ``what`` was expected in place of the next token."""
        text = self.text if len(self.text) < 40 else self.text[:37] + "..."
        found = "the end of the text" if self.kind == "end" else repr(text)
        self.fail(f"expected {what}, found {found}")

    def accept(self, text: str) -> bool:
        if self.texts[self.i] == text:
            self.i += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if self.texts[self.i] != text:
            self.expected(repr(text))
        self.i += 1

    def take(self, kind: str, what: str) -> str:
        if self.kinds[self.i] != kind:
            self.expected(what)
        self.i += 1
        return self.texts[self.i - 1]

    def enter(self) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            self.fail(f"more than {_MAX_DEPTH} levels of nesting")

    def leave(self) -> None:
        self.depth -= 1

    def listed(self, item: Callable[[], Any], opening: str = "[", closing: str = "]") -> list[Any]:
        """``opening item, item, ... closing``."""
        self.expect(opening)
        items: list[Any] = []
        if not self.accept(closing):
            items.append(item())
            while self.accept(","):
                items.append(item())
            if not self.accept(closing):
                self.expected(f"',' or {closing!r}")
        return items

    def unquoted(self, quoted: str) -> str:
        """The string that ``quoted``, the token just taken, stands for."""
        try:
            return json.loads(quoted)
        except ValueError as error:
            self.fail(f"not a string: {error}", self.i - 1)

    def string(self) -> str:
        return self.unquoted(self.take("string", "a string"))

    def named(self, what: str) -> str:
        """``@name`` or ``@"any name"``."""
        name = self.take("at", what)[1:]
        return self.unquoted(name) if name.startswith('"') else name
