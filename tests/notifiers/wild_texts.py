"""Texts that break whatever can be broken: markup, controls, halves of characters, directions, and lengths."""

from hypothesis import strategies as st

wild = (
    st.text(max_size=60)
    | st.text(st.sampled_from("<>&\"'\\\n\t\x00\x7f\ud800\U0001f525é!@#^|*_`~{}"), max_size=60)
    | st.text(st.sampled_from("שלוםعربي\u202e\u2066 "), max_size=40)
    | st.sampled_from(["<!channel>", "<@U1|x>", "<https://x|y>", "&lt;", "<!date^1^{date}|x>", "👩‍👩‍👧‍👦" * 30, ""])
)


def huge(text: str) -> st.SearchStrategy[str]:
    """`text` many times over: long fields without slow generation."""
    return st.integers(0, 5_000).map(lambda times: (text * times)[:150_000])


texts = wild.flatmap(huge) | wild
