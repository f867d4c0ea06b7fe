"""Documents of blocks: whatever value there is comes back; what is shown or sealed holds no secret. And kill -9."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretBytes, SecretStr

from tests.flows.block_program import Numbered, numbered
from tests.flows.conftest import Book
from tocsin.flows.blocks import documents
from tocsin.flows.blocks.documents import document_of, opened, sealed, secrets_in, shown, value_of
from tocsin.store.secrets import seal, unseal

SECRETS = st.text(min_size=1, max_size=8).map(lambda text: SecretStr(f"planted{text}"))
keys = st.text(max_size=4) | st.sampled_from(["$secret", "$block", "$inline", "fields", "$$", "$", "$bytes"])
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(), max_size=6)
    | st.binary(max_size=6)
    | SECRETS
    | st.binary(max_size=6).map(SecretBytes),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)


def unmade(slug: str, name: str | None, fields: dict[str, Any]) -> Any:
    raise AssertionError(f"no block was put in, {slug} came out")


@given(values)
def test_any_value_comes_back_through_sealed_json(value: Any) -> None:
    text = json.dumps(sealed(document_of(value, "x"), seal))
    assert value_of(opened(json.loads(text), unseal), unmade) == value


@given(values)
def test_neither_what_is_shown_nor_what_is_stored_holds_a_secret(value: Any) -> None:
    document = document_of(value, "x")
    stored = json.dumps(sealed(document, seal))
    seen = stored + json.dumps(shown(json.loads(stored)))
    assert not any(secret in seen for secret in secrets_in(document) if secret.startswith("planted"))


def test_what_a_document_refers_to_is_found_wherever_it_stands() -> None:
    document = {"a": [{"$block": ["x", "one"]}], "b": {"c": {"$block": ["y", "two"], "fields": {}}}, "$$block": 1}
    assert list(documents.references(document)) == [("x", "one"), ("y", "two")]
    assert documents.without_fields(document)["b"] == {"c": {"$block": ["y", "two"]}}


@pytest.mark.faults
@pytest.mark.parametrize("turns", [1, 2, 5])
def test_killed_in_the_middle_of_a_save_there_is_a_whole_block(book: Book, turns: int) -> None:
    command = [sys.executable, "-m", "tests.flows.block_program"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as program:
        assert program.stdout is not None
        last = [int(program.stdout.readline()) for _ in range(turns)][-1]
        program.kill()
        last = int([line for line in [str(last), *program.stdout.read().split()] if line.isdigit()][-1])
    found = Numbered.load("killed")
    assert found.first in (last, last + 1)
    assert found == numbered(found.first)
