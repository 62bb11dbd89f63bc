"""Which SQL statements the local ClickHouse accepts: one per request, on tables of its own data folder only.

Owns: the check of a statement's text. Does not own: authentication (clickhouse_front), the engine.
The engine runs as the user who started the stack, so SQL could otherwise read and write any file of that user and
reach other hosts: by table functions, engines, INTO OUTFILE, and by tables named like files in the database `default`.
Syntax that this tokenizer cannot read with certainty (comments, quoted identifiers, heredocs) is refused, so that it
and the engine cannot read a text in two ways.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from pipeline.errors import Rejected

REFUSED = "refused-statement"
MOST_CHARACTERS = 65_536  # our statements are shorter: values are parameters, rows follow the statement
_READING = ("SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN")
_WRITING = ("INSERT", "CREATE", "ALTER", "DROP", "TRUNCATE", "DELETE", "OPTIMIZE")
STATEMENTS = frozenset((*_READING, *_WRITING))
CREATABLE = frozenset(("TABLE", "DATABASE"))
# These only generate rows; every other table function reaches files, hosts or this process.
HARMLESS_FUNCTIONS = frozenset(
    ("values", "numbers", "numbers_mt", "zeros", "zeros_mt", "generateseries", "generate_series")
)
REACHING_FUNCTIONS = frozenset(("file", "url", "disk", "executable", "dictionary", "python"))
_WORDS = frozenset(("OUTFILE", "INFILE", "IDENTIFIER", "DISK", "FREEZE", "FETCH", "UNFREEZE"))
_ENGINES = re.compile(r"(Replacing|Summing|Aggregating|Collapsing|VersionedCollapsing)?MergeTree|Memory")
_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<text>'(?:[^'\\]|\\.|'')*')|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>[0-9][0-9A-Za-z_.]*)"
    r"|(?P<unknown>--|/\*|[\"`#$\\'\0]|[^\x00-\x7f])|(?P<sign>.)",
    re.DOTALL,
)


class Token(NamedTuple):
    """A piece of a statement. kind: text, word, number or sign."""

    kind: str
    text: str


def check(statement: str, table_functions: Collection[str]) -> None:
    """Return if the statement is allowed.

    Args:
        statement: The SQL text, without the rows of an insert.
        table_functions: The names of all table functions of the engine.

    Raises:
        Rejected: `refused-statement`, with a sentence that names the refused part.
    """
    if len(statement) > MOST_CHARACTERS:
        raise Rejected(REFUSED, f"A statement must have at most {MOST_CHARACTERS:,} characters.")
    tokens = list(_tokens(statement))
    while tokens and tokens[-1] == Token("sign", ";"):
        tokens.pop()
    if Token("sign", ";") in tokens:
        raise Rejected(REFUSED, "A request must contain one statement, but this one contains several.")
    words = [token.text.upper() for token in tokens if token.kind == "word"]
    if not words or tokens[0].kind != "word" or words[0] not in STATEMENTS:
        raise Rejected(REFUSED, f"A statement must begin with one of {', '.join(sorted(STATEMENTS))}.")
    if words[0] == "CREATE" and (len(words) < 2 or words[1] not in CREATABLE):
        raise Rejected(REFUSED, "Only tables and databases can be created.")
    if found := _WORDS.intersection(words):
        raise Rejected(REFUSED, f"{min(found)} is not allowed: SQL must not reach files or other hosts.")
    _check_pairs(tokens, {name.lower() for name in table_functions})


def _tokens(statement: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(statement):
        kind = match.lastgroup or ""
        if kind == "unknown":
            raise Rejected(
                REFUSED,
                f"{match.group()!r} is not allowed at character {match.start()}: comments, quoted identifiers, "
                "heredocs and letters outside ASCII are refused unless they are inside a '...' text.",
            )
        if kind != "space":
            yield Token(kind, match.group())


def _check_pairs(tokens: list[Token], table_functions: set[str]) -> None:
    """Check each token together with its successor."""
    reaching = (table_functions | REACHING_FUNCTIONS) - HARMLESS_FUNCTIONS
    for place, (token, following) in enumerate(zip(tokens, [*tokens[1:], Token("sign", "")], strict=True)):
        name = token.text.lower()
        if following.text == "(" and token.kind == "word" and name in reaching:
            raise Rejected(
                REFUSED, f"The function {token.text} is not allowed: SQL must not reach files or other hosts."
            )
        if following.text == "." and (name == "default" or token.kind == "text"):
            raise Rejected(REFUSED, "The database default is not allowed: its tables can be files.")
        if token.kind == "word" and name == "engine":
            after = tokens[place + 2] if following.text == "=" and place + 2 < len(tokens) else following
            if not _ENGINES.fullmatch(after.text):
                raise Rejected(
                    REFUSED, f"The engine {after.text} is not allowed, only MergeTree engines and Memory are."
                )
