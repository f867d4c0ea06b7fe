"""Fetches the jars of Apache Kafka ahead of the tests, which have no patience: `python -m tests.kafka.fetch`."""

from tests.kafka.broker import NoBroker, jars


def main() -> None:
    """Say where the jars are, or why there are none; the tests that need them decide what that means."""
    try:
        print(f"Apache Kafka: {jars()}")
    except NoBroker as reason:
        print(f"no Apache Kafka: {reason}")


if __name__ == "__main__":
    main()
