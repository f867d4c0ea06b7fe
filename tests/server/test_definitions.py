"""Sources and deployments as people write them down: what is wrong is said with line and field."""

from pathlib import Path

import pytest

from tocsin.events.errors import Invalid
from tocsin.server.definitions import deployments_in, sources_in

SOURCE = "{name: shop, topic: orders, format: tocsin}"
RELATED = "\n".join(
    [
        "sources:",
        f"- {SOURCE}",
        "- name: other",
        "  topic: t",
        "  mapping:",
        "    event: body.kind",
        "    resource: body.id",
        "    related:",
        "    - tocsin.resource.id: body.customer",
        "      tocsin.resource.role: customer",
    ]
)
WRONG_SOURCES = [
    pytest.param(
        "- name: shop\n  topic: t\n  format: jsn", 'source "shop": line 3, format: Input should be', id="a choice"
    ),
    pytest.param(
        "- name: shop\n  topic: t\n  mapping: {event: body.x, resorce: body.y}",
        "line 3, mapping.resource: is missing; line 3, mapping.resorce: unknown field; did you mean resource?",
        id="a field",
    ),
    pytest.param(RELATED, "line 10, mapping.related.0.tocsin.resource.role: expression", id="an expression, deep down"),
    pytest.param(f"- {SOURCE}\n\n- {SOURCE}", '"shop" is defined twice, on line 1 and on line 3', id="a name"),
    pytest.param("sources:\n- just text", "line 2: Input should be", id="no object"),
]


@pytest.mark.parametrize(("text", "said"), WRONG_SOURCES)
def test_what_is_wrong_with_a_source_is_said_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text(text)
    with pytest.raises(Invalid) as refusal:
        sources_in(str(file))
    assert str(refusal.value).startswith(str(file))
    assert said in str(refusal.value)


def test_a_deployment_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "deployments.yaml"
    good = "- {name: etl, entrypoint: 'flows.py:etl', flow_name: etl}"
    file.write_text(f"deployments:\n{good}\n- {{name: two, entrypont: nothing}}")
    with pytest.raises(Invalid, match=r"deployments\.yaml, line 3: .*no field entrypont; is entrypoint meant\?"):
        deployments_in(str(file))
    file.write_text(f"{good}\n{good}")
    with pytest.raises(Invalid, match='deployment "etl" is defined twice, on line 1 and on line 2'):
        deployments_in(str(file))


def test_two_things_of_one_name_in_python_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "two_sources.py"
    made = "from tocsin.triggers import KafkaSource\none = KafkaSource(name='s', topic='a', format='tocsin')\n"
    file.write_text(f"{made}same = one\n")
    assert [source.topic for source in sources_in(str(file))] == ["a"]
    file.write_text(f"{made}two = KafkaSource(name='s', topic='b', format='tocsin')\n")
    with pytest.raises(Invalid, match='two different things are named "s"; rename one'):
        sources_in(str(file))
