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

PATHS = (
    *("a#b", "a?b", "100%", "%20", "a b ", " a", "it's", '"', "a\nb", "a\\b", "a:b", "a*", "a,b"),
    *("-a", "--out", ".hidden", "..a", "a.", "~", "&", "a;b", "a=b", "[0]", "{x}", "$x", "é", "→"),
    *("m\udcfcller", "\udcff\udcfe", "名" * 40, "n" * 240),
)
"""Names of files that are allowed and that programs often get wrong; some are not UTF-8."""

hostile = st.sampled_from(HOSTILE)
unusual = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
any_text = st.one_of(hostile, unusual)
words = st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True)
# Names that a file can have on Linux, and that fit on a command line.
file_names = st.one_of(
    any_text.map(lambda t: t.replace("/", "_").replace("\0", "_")).filter(
        lambda t: t not in {"", ".", ".."} and len(t.encode()) <= 120
    ),
    st.sampled_from(PATHS),
)
folder_names = st.one_of(st.just("folder"), file_names)
arguments = st.one_of(any_text, any_text, st.sampled_from(PATHS)).filter(lambda t: "\0" not in t)
encodings = st.sampled_from(("utf-8", "utf-8", "ascii", "latin-1", "cp1252", "utf-16"))
widths = st.sampled_from((20, 33, 80, 200))
