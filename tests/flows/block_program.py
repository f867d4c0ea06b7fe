"""Saves one block again and again until it is killed: whole documents, each of one number.

python -m tests.flows.block_program
"""

import itertools

from pydantic import SecretStr

from tocsin.flows.blocks import Block


class Numbered(Block):
    first: int
    secret: SecretStr
    many: list[int]


def numbered(number: int) -> Numbered:
    return Numbered(first=number, secret=SecretStr(f"secret-{number}"), many=[number] * 1_000)


if __name__ == "__main__":
    for turn in itertools.count(1):
        numbered(turn).save("killed", overwrite=True)
        print(turn, flush=True)
