"""Whether a target lies in what its team may scan: by its value, then by its addresses. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_network
from pathlib import PurePosixPath
from typing import Final
from uuid import UUID

from contracts.errors import TargetInvalid
from contracts.targets import PinnedTarget, Scope, ScopeEntry, ScopeRef
from contracts.vocabulary import ScopeKind, TargetKind, TargetRule
from scanners.targets.address_policy import (
    OwnAddress,
    private_of,
    refuse_forbidden,
    refuse_own,
    refuse_too_large,
    refuse_unscopable,
    within,
)
from scanners.targets.host_values import Network
from scanners.targets.target_values import ScopeRule, TargetValue, parse_scope_entry, parse_target

SYSTEM_PATHS: Final = ("/dev", "/proc", "/sys")
"""What lies there is no file of a repository."""

ADD_SCOPE: Final = "An admin adds it: `cloudsweep scope add NAME {option}`."


@dataclass(frozen=True)
class Surroundings:
    """What this installation is, which is never scanned."""

    allow_loopback: bool = False
    own_names: tuple[tuple[str, str], ...] = ()
    """(what, name) of our own servers that have a name."""
    own_addresses: tuple[OwnAddress, ...] = ()
    own_paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Approval:
    """A scope whose entries are read."""

    scope: Scope
    rules: tuple[ScopeRule, ...]


def read_entries(entries: Sequence[ScopeEntry], *, allow_loopback: bool) -> list[ScopeEntry]:
    """The canonical form of a scope's entries; TargetInvalid for what no scope may name."""
    found = []
    for number, entry in enumerate(entries):
        field = f"allows[{number}].value"
        rule = parse_scope_entry(entry, field=field)
        if rule.network is not None:
            refuse_unscopable(rule.network, field, allow_loopback=allow_loopback)
        found.append(rule.entry())
    return list(dict.fromkeys(found))


def approvals_of(scopes: Iterable[Scope]) -> list[Approval]:
    """The scopes with their entries read; one that is no longer readable allows nothing."""
    return [Approval(scope, tuple(_readable(scope.allows))) for scope in scopes]


def _readable(entries: Iterable[ScopeEntry]) -> Iterable[ScopeRule]:
    for entry in entries:
        try:
            yield parse_scope_entry(entry)
        except TargetInvalid:
            continue


def judge_value(
    value: TargetValue,
    approvals: Sequence[Approval],
    around: Surroundings,
    *,
    at: datetime,
    shown: str | None = None,
) -> ScopeRef:
    """The scope that a target lies in by its value alone; TargetInvalid says by which rule none
    does. A name is still to be looked up."""
    shown = shown or value.text
    if value.network is not None:
        refuse_too_large(value.network, shown)
        judge_network(value.network, shown, approvals, around, at=at, port=value.port)
    for what, name in around.own_names:
        if value.name == name:
            raise TargetInvalid(
                f"{value.name} is our own {what}.",
                rule=TargetRule.OWN_SERVER,
                field="value",
                fix="Cloudsweep does not scan itself.",
            )
    if value.kind is TargetKind.REPOSITORY:
        _refuse_own_path(value.text, around)
    return _allowing(_matcher(value), shown, _option(value), approvals, at)


def judge_network(
    network: Network,
    shown: str,
    approvals: Sequence[Approval],
    around: Surroundings,
    *,
    at: datetime,
    port: int | None,
) -> list[int]:
    """The ports of ours to leave out at an address; TargetInvalid when it may not be scanned."""
    refuse_forbidden(network, shown, allow_loopback=around.allow_loopback)
    closed = refuse_own(network, shown, around.own_addresses, port=port)
    private = private_of(network)
    if private is not None:

        def names(rule: ScopeRule) -> bool:
            named = rule.network
            return named is not None and within(named, private) and within(network, named)

        try:
            _allowing(names, shown, f"--cidr {network}", approvals, at)
        except TargetInvalid as error:
            if error.rule is not TargetRule.OUT_OF_SCOPE:
                raise
            raise TargetInvalid(
                f"{shown} is in the private network {private}, and no scope names it.",
                rule=TargetRule.PRIVATE,
                field="value",
                fix=error.fix,
            ) from None
    return closed


def _allowing(
    matches: Callable[[ScopeRule], bool],
    shown: str,
    option: str,
    approvals: Sequence[Approval],
    at: datetime,
) -> ScopeRef:
    matching = [each.scope for each in approvals if any(map(matches, each.rules))]
    for scope in matching:
        if scope.is_valid(at):
            return scope.ref()
    if matching:
        last = max(matching, key=lambda scope: scope.valid_until or at)
        raise TargetInvalid(
            f"{shown} lies in the scope {last.name}, which ended at "
            f"{last.valid_until:%Y-%m-%d %H:%M} UTC.",
            rule=TargetRule.SCOPE_EXPIRED,
            field="value",
            fix=f"An admin renews it: `cloudsweep scope change '{last.name}' --valid-until TIME`.",
        )
    raise TargetInvalid(
        f"{shown} lies in no scope of this team.",
        rule=TargetRule.OUT_OF_SCOPE,
        field="value",
        fix=ADD_SCOPE.format(option=option),
    )


def _matcher(value: TargetValue) -> Callable[[ScopeRule], bool]:
    def by_image(rule: ScopeRule) -> bool:
        return rule.kind is ScopeKind.IMAGE and f"{value.image}/".startswith(f"{rule.text}/")

    def by_path(rule: ScopeRule) -> bool:
        return rule.kind is ScopeKind.PATH and is_below(value.text, rule.text)

    def by_cluster(rule: ScopeRule) -> bool:
        return rule.kind is ScopeKind.CLUSTER and rule.text == value.text

    def by_network(rule: ScopeRule) -> bool:
        return (
            value.network is not None
            and rule.network is not None
            and within(value.network, rule.network)
        )

    def by_name(rule: ScopeRule) -> bool:
        if rule.kind is not ScopeKind.DOMAIN or value.name is None:
            return False
        return value.name == rule.text or (rule.subdomains and value.name.endswith(f".{rule.text}"))

    match value.kind:
        case TargetKind.IMAGE:
            return by_image
        case TargetKind.REPOSITORY:
            return by_path
        case TargetKind.CLUSTER:
            return by_cluster
        case _:
            return by_name if value.network is None else by_network


def _option(value: TargetValue) -> str:
    match value.kind:
        case TargetKind.IMAGE:
            return f"--image {(value.image or '').rpartition('/')[0]}"
        case TargetKind.REPOSITORY:
            return f"--path '{value.text}'"
        case TargetKind.CLUSTER:
            return f"--cluster {value.text}"
        case _:
            return f"--domain {value.name}" if value.network is None else f"--cidr {value.network}"


def is_below(path: str, top: str) -> bool:
    """True for a path itself and everything in it."""
    return PurePosixPath(path).is_relative_to(top)


def _refuse_own_path(path: str, around: Surroundings) -> None:
    for own in (*SYSTEM_PATHS, *around.own_paths):
        if is_below(path, own) or is_below(own, path):
            raise TargetInvalid(
                f"{path} holds, or lies in, {own}, which is the system's or our own.",
                rule=TargetRule.OWN_SERVER,
                field="value",
                fix="Name a directory apart from it.",
            )


def lying_in(pinned: Sequence[PinnedTarget], approvals: Sequence[Approval]) -> list[UUID]:
    """The scopes that these targets lie in, by their values or by one of their addresses."""
    found = dict.fromkeys(each.scope.id for each in pinned)
    for each in pinned:
        matches = _matcher(parse_target(each.kind, each.value))
        places = [ip_network(address) for address in each.addresses]
        for approval in approvals:
            if any(
                matches(rule)
                or (
                    rule.network is not None
                    and any(within(place, rule.network) for place in places)
                )
                for rule in approval.rules
            ):
                found[approval.scope.id] = None
    return list(found)


def relying_on(
    scope: Scope,
    scopes: Iterable[Scope],
    values: Iterable[TargetValue],
    *,
    at: datetime,
) -> list[TargetValue]:
    """The targets that this scope allows and no other does."""
    ours = approvals_of([scope])
    others = [
        each
        for each in approvals_of(scopes)
        if each.scope.id != scope.id and each.scope.is_valid(at)
    ]
    found = []
    for value in values:
        matches = _matcher(value)

        def allow(approvals: Sequence[Approval]) -> bool:
            return any(matches(rule) for each in approvals for rule in each.rules)  # noqa: B023

        if allow(ours) and not allow(others):
            found.append(value)
    return found
