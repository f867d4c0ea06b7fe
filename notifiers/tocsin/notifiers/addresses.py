"""Which addresses a webhook may be sent to. Pure: the door asks for every address just before it connects.

Nothing but the public internet, unless an allow-list says otherwise. `is_global` alone is not enough: it lets through
multicast, site-local and what hides an IPv4 address inside an IPv6 one, so those are unpacked or refused here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from tocsin.events.errors import Invalid

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
_SHARED: Final = IPv4Network("100.64.0.0/10")
_NEVER_BY_NAME: Final = (
    (IPv4Network("169.254.0.0/16"), "link-local (cloud metadata)"),
    (IPv4Network("168.63.129.16/32"), "cloud metadata"),
    (IPv4Network("100.100.100.200/32"), "cloud metadata"),
    (IPv6Network("fd00:ec2::/32"), "cloud metadata"),
    (IPv6Network("fe80::/10"), "link-local"),
    (IPv6Network("fec0::/10"), "site-local"),
    (IPv6Network("2001::/32"), "Teredo tunnel"),
    (IPv6Network("64:ff9b:1::/48"), "local NAT64"),
    (IPv4Network("0.0.0.0/8"), "this network"),
)


@dataclass(frozen=True, slots=True)
class Allow:
    """One line of an allow-list: a network, or a host name or address with or without a port."""

    host: str | None = None
    port: int | None = None
    network: Network | None = None


def read_allow(lines: Sequence[str]) -> tuple[Allow, ...]:
    """The allow-list in `lines`: `10.0.0.0/8`, `hooks.internal`, `localhost:5000`, `[::1]:8080`; raises Invalid."""
    return tuple(_read_line(line.strip()) for line in lines)


def refusal(host: str, port: int, address: str, allow: Sequence[Allow]) -> str | None:
    """Why `address`, to which the name `host` resolved, may not be connected to; None when it may."""
    reached = _unpacked(ip_address(address.partition("%")[0]))
    if any(rule.network is not None and reached in rule.network for rule in allow):
        return None
    if reason := _never(reached):
        return reason
    named = any(rule.host == host.lower() and rule.port in (None, port) for rule in allow if rule.host)
    return None if named else _not_public(reached)


def _unpacked(address: Address) -> Address:
    """The IPv4 address inside a mapped, NAT64, 6to4 or IPv4-compatible one; else the address itself."""
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_unspecified:
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _SIX_TO_FOUR:
        return IPv4Address(int(address) >> 80 & 0xFFFF_FFFF)
    if address in _NAT64 or address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _never(address: Address) -> str | None:
    """Why no host name of an allow-list opens the way to `address`: only a network that holds it does."""
    if address.is_unspecified:
        return "unspecified"
    if address.is_multicast:
        return "multicast"
    return next((why for network, why in _NEVER_BY_NAME if address in network), None)


def _not_public(address: Address) -> str | None:
    if address.is_loopback:
        return "loopback"
    if address in _SHARED:
        return "carrier-grade NAT"
    if address.is_private:
        return "private"
    if address.is_reserved or not address.is_global:
        return "reserved"
    return None


def _read_line(line: str) -> Allow:
    try:
        return Allow(network=ip_network(line, strict=False)) if "/" in line else _read_host(line)
    except ValueError as error:
        known = "a network (10.0.0.0/8), a host (hooks.internal) or a host with a port (localhost:5000)"
        raise Invalid(f'allow-list: cannot read "{line}"; give {known}') from error


def _read_host(line: str) -> Allow:
    if line.startswith("["):
        host, _, rest = line[1:].partition("]")
        return Allow(host=host.lower(), port=int(rest.removeprefix(":")) if rest else None)
    if line.count(":") > 1:
        return Allow(host=str(ip_address(line)))
    host, colon, port = line.partition(":")
    if not host or any(character.isspace() for character in host):
        raise ValueError(line)
    return Allow(host=host.lower(), port=int(port) if colon else None)
