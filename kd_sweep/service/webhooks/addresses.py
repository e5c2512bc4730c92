"""The addresses that webhooks may lead to. A name is resolved once, and what was checked is what is connected to."""

import ipaddress
import socket

from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.service_errors import PolicyError, ServiceError


def check_host(host: str, policy: Policy) -> None:
    """Raise `PolicyError` for a host that is an address, or a name of this machine, that the policy does not allow."""
    if policy.allow_private_webhooks:
        return
    address = _as_address(host)
    if host == "localhost" or host.endswith(".localhost") or (address is not None and _is_private(address)):
        raise _refusal(host)


def resolved(host: str, port: int, policy: Policy) -> tuple[str, int]:
    """Return an address of a host, to connect to, and its port.

    Raises:
        PolicyError: one of its addresses is private, which the policy does not allow.
        ServiceError: it has none.
    """
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ServiceError(f"{host} has no address ({error})") from None
    addresses = [str(info[4][0]) for info in infos]
    for address in addresses:
        parsed = _as_address(address)
        if not policy.allow_private_webhooks and (parsed is None or _is_private(parsed)):
            raise _refusal(f"{host} ({address})")
    return addresses[0], port


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _as_address(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_private(address: Address) -> bool:
    """Whether the internet does not reach it: of this machine, of private networks, of links, of many at once."""
    return not address.is_global or address.is_multicast


def _refusal(what: str) -> PolicyError:
    return PolicyError(
        f"url: {what} is an address of this machine or of a private network, where this server sends nothing (its "
        "operator can allow it: kd-sweep serve --allow-private-webhooks)"
    )
