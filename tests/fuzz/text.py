"""Strategies for hostile and unusual texts and names."""

from hypothesis import strategies as st

HOSTILE = (
    "../elsewhere",
    "../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "a/b",
    ".",
    "..",
    "",
    " ",
    "-",
    "-rf",
    "--help me",
    "$(touch pwned)",
    "`touch pwned`",
    "a; touch pwned",
    "a && touch pwned",
    "a | touch pwned",
    "a\nb",
    "a\rb",
    "a\tb",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b2J",
    "\u202egpj.exe",
    "\u200bzero width",
    "[red]bold[/red]",
    "[/]",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "a|b",
    "%s%n",
    "{0.__class__}",
    "$HOME",
    "~root",
    "' OR 1=1 --",
    '"quoted"',
    "名前",
    "имя",
    "اسم",
    "e\u0301te\u0301",
    "😀",
    "\ufeffbom",
    "x" * 300,
    "a" * 64,
    "NUL",
    "con",
    "#hash",
    "a=b",
    "=1+1",
)

hostile = st.sampled_from(HOSTILE)
unusual = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
any_text = st.one_of(hostile, unusual)
words = st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True)
# Names that a file can have on Linux, and that fit on a command line.
file_names = any_text.map(lambda t: t.replace("/", "_").replace("\0", "_")).filter(
    lambda t: t not in {"", ".", ".."} and len(t.encode()) <= 120
)
arguments = any_text.filter(lambda t: "\0" not in t)
