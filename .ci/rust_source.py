"""Separates the comments, the string literals and the code of Rust source text.

The functions return text of the same length as their input, so that an offset stays valid and a line number can be
computed from it. Characters that do not belong to the requested part are replaced.
"""

import re

# A character that occurs in no source file. It stands for code, so that a search for a phrase cannot match across code.
CODE = "\0"

_TOKEN = re.compile(
    r"""
    (?P<line>//[^\n]*)
  | (?P<block>/\*)
  | (?P<raw>\b(?:b|c)?r(?P<hashes>\#*)".*?"(?P=hashes))
  | (?P<string>\b[bc]?"(?:\\.|[^"\\])*"|"(?:\\.|[^"\\])*")
  | (?P<char>b?'(?:\\(?:x[0-9a-fA-F]{2}|u\{[0-9a-fA-F_]+\}|.)|[^\\'\n])')
    """,
    re.VERBOSE | re.DOTALL,
)


def parts(source):
    """Yields (kind, start, end) for each comment ("comment") and each literal ("string", "char") of `source`."""
    position = 0
    while found := _TOKEN.search(source, position):
        start, position = found.span()
        if found.lastgroup == "block" or found.group("block"):
            position = _end_of_block_comment(source, start)
            yield "comment", start, position
        elif found.group("line"):
            yield "comment", start, position
        elif found.group("char"):
            yield "char", start, position
        else:
            yield "string", start, position


def _end_of_block_comment(source, start):
    """Block comments nest in Rust."""
    depth, position = 0, start
    for found in re.finditer(r"/\*|\*/", source[start:]):
        depth += 1 if found.group() == "/*" else -1
        position = start + found.end()
        if depth == 0:
            return position
    return len(source)


def _blank(text, by=" "):
    return re.sub(r"\S", by, text)


def code(source):
    """`source` with spaces in place of comments and literals."""
    result, position = [], 0
    for _, start, end in parts(source):
        result += [source[position:start], _blank(source[start:end])]
        position = end
    return "".join(result) + source[position:]


def prose(source):
    """The comments and strings of `source`. Code becomes `CODE`, comment markers become spaces.

    The words of consecutive comment lines are therefore separated by white space only.
    """
    result, position = [], 0
    for kind, start, end in parts(source):
        result.append(_blank(source[position:start], CODE))
        text = source[start:end]
        if kind == "comment":
            marker = re.match(r"///?!?|//!|/\*[*!]?", text).group()
            text = " " * len(marker) + text[len(marker) :]
        elif kind == "string":
            # A line that ends with a backslash continues on the next line.
            text = re.sub(r"\\\n", " \n", text).replace('"', CODE)
        else:
            text = _blank(text, CODE)
        result.append(text)
        position = end
    return "".join(result) + _blank(source[position:], CODE)


def code_spans(text):
    """The Markdown code of `text`: fenced blocks, `spans`, and the targets of links. The rest becomes `CODE`."""
    keep = bytearray(len(text))
    fences = list(re.finditer(r"^[ \t]*```.*?(?:^[ \t]*```|\Z)", text, re.MULTILINE | re.DOTALL))
    outside = text
    for fence in fences:
        keep[fence.start() : fence.end()] = b"\1" * (fence.end() - fence.start())
        outside = outside[: fence.start()] + _blank(fence.group(), CODE) + outside[fence.end() :]
    for span in re.finditer(r"`[^`\n]+`|(?<=\])\([^)\s]+\)", outside):
        keep[span.start() : span.end()] = b"\1" * (span.end() - span.start())
    return "".join(c if k or c.isspace() else CODE for c, k in zip(text, keep, strict=True))


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1
