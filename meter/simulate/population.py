"""Who there is: sites, accounts and members, always the same, and the first ones whatever the number.

Entry k of site n depends on (n, k) alone, so a larger population only adds to a smaller one, and the example catalog
knows the people of `berlin` whatever the seed and however many sites are simulated beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from meter.model.errors import BadInput
from meter.simulate.dice import Dice, digest

SITES_MAX: Final = 500
MEMBERS_PER_SITE_MAX: Final = 2000

# Places that pay in EUR, as the catalog has one currency: id, name, zone, hour of opening, hour of closing. The zones
# span eight hours, so that "today" differs between sites.
_CITIES: Final = (
    ("berlin", "Berlin Mitte", "Europe/Berlin", 7, 22),
    ("lisbon", "Lisboa Baixa", "Europe/Lisbon", 8, 21),
    ("athens", "Athina Psyrri", "Europe/Athens", 8, 22),
    ("reunion", "Saint-Denis", "Indian/Reunion", 7, 20),
    ("martinique", "Fort-de-France", "America/Martinique", 7, 21),
    ("dublin", "Dublin Docklands", "Europe/Dublin", 7, 21),
    ("helsinki", "Helsinki Kallio", "Europe/Helsinki", 7, 21),
    ("madrid", "Madrid Chueca", "Europe/Madrid", 8, 22),
    ("vienna", "Wien Neubau", "Europe/Vienna", 7, 21),
    ("amsterdam", "Amsterdam Noord", "Europe/Amsterdam", 7, 22),
    ("tallinn", "Tallinn Kalamaja", "Europe/Tallinn", 7, 21),
    ("canary", "Las Palmas", "Atlantic/Canary", 8, 21),
)
_FIRST_NAMES: Final = (
    *("Ada", "Ben", "Chiara", "David", "Elif", "Finn", "Greta", "Hugo", "Ines", "Jonas"),
    *("Katja", "Lars", "Mina", "Nico", "Olga", "Paul", "Quirin", "Rosa", "Samir", "Tilda"),
    *("Uwe", "Vera", "Wanda", "Xaver", "Yara", "Zoe", "Anton", "Bela", "Clara", "Dario"),
    *("Emil", "Frida", "Gustav", "Hanna", "Ivan", "Jule", "Kolja", "Lotte", "Milan", "Nora"),
)
_TEAMS: Final = ("acme", "brightside", "cobalt", "dynamo", "ember", "fathom", "gazelle", "harbour")
_PAIRS: Final = ("inkwell", "juniper", "kestrel", "lumen", "mosaic", "nimbus", "orchard", "pebble")
# Ten members of a site in a row: a team of four with a shared pool, a resident, two who share a Flex 10, one with their
# own, and two who come on day passes.
_BLOCK: Final = ("team", "team", "team", "team", "resident", "pair", "pair", "flex", "day", "day")
_PLANS: Final = {"team": "team", "resident": "resident", "pair": "flex-10", "flex": "flex-10", "day": "day-pass"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A space. `opens` and `closes` are minutes of its local day; with `edge` an agent numbers what it sends."""

    id: str
    name: str
    zone: str
    opens: int
    closes: int
    edge: bool

    @property
    def walk_in(self) -> str:
        """Return the account that bears what strangers pay at the till."""
        return f"walk-in-{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who pays: `plan` is subscribed by the account."""

    id: str
    name: str
    plan: str
    anchor_day: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Who comes: `plan` is the one that counts for the member, `own_plan` tells that it is not the account's."""

    id: str
    name: str
    account: str
    plan: str
    own_plan: bool
    badge: str
    user: str
    email: str
    square: str
    macs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A site with the accounts and members that belong to it."""

    site: Site
    accounts: tuple[Account, ...]
    members: tuple[Member, ...]


def population(*, sites: int, members: int) -> tuple[Space, ...]:
    """Return `sites` spaces (1 to 500) of `members` members each (1 to 2000). Raises BadInput (`bad_population`)."""
    if not 1 <= sites <= SITES_MAX or not 1 <= members <= MEMBERS_PER_SITE_MAX:
        bounds = f"1 to {SITES_MAX} sites of 1 to {MEMBERS_PER_SITE_MAX} members"
        message = f"{sites} sites of {members} members cannot be simulated; take {bounds}"
        raise BadInput(message, code="bad_population")
    return tuple(_space(number, members) for number in range(sites))


def _space(number: int, members: int) -> Space:
    city, name, zone, opens, closes = _CITIES[number % len(_CITIES)]
    again = number // len(_CITIES)
    site = Site(
        id=f"{city}-{again + 1}" if again else city,
        name=f"{name} {again + 1}" if again else name,
        zone=zone,
        opens=opens * 60,
        closes=closes * 60,
        edge=number % 2 == 1,
    )
    # The first site's people have plain names; elsewhere the site keeps namesakes apart.
    prefix = "" if number == 0 else f"{site.id}-"
    accounts: dict[str, Account] = {}
    people: list[Member] = []
    for index in range(members):
        account = _account(prefix, index)
        accounts.setdefault(account.id, account)
        people.append(_member(prefix, index, account))
    return Space(site=site, accounts=tuple(accounts.values()), members=tuple(people))


def _numbered(names: tuple[str, ...], index: int) -> str:
    again = index // len(names)
    return f"{names[index % len(names)]}{again + 1 if again else ''}"


def _account(prefix: str, index: int) -> Account:
    block, place = divmod(index, len(_BLOCK))
    kind = _BLOCK[place]
    if kind == "team":
        name = _numbered(_TEAMS, block)
        return Account(id=prefix + name, name=f"{name.title()} GmbH", plan=_PLANS[kind], anchor_day=1)
    if kind == "pair":
        name = _numbered(_PAIRS, block)
        return Account(id=prefix + name, name=f"{name.title()} GbR", plan=_PLANS[kind], anchor_day=15)
    name = _numbered(_FIRST_NAMES, index)
    return Account(id=prefix + name.lower(), name=name, plan=_PLANS[kind], anchor_day=1)


def _member(prefix: str, index: int, account: Account) -> Member:
    name = _numbered(_FIRST_NAMES, index)
    member_id = prefix + name.lower()
    # In every second team one has taken a residency of their own, which replaces the team's plan for them.
    own_plan = index % (2 * len(_BLOCK)) == 3
    macs = [_mac(member_id, device) for device in ("laptop", "phone")]
    return Member(
        id=member_id,
        name=name,
        account=account.id,
        plan="resident" if own_plan else account.plan,
        own_plan=own_plan,
        badge="badge:04" + digest(member_id, "badge", size_bytes=6).upper(),
        user=f"user:{member_id}",
        email=f"email:{member_id}@{account.id}.example",
        square="square:" + digest(member_id, "square", size_bytes=8).upper(),
        macs=tuple(macs if Dice(member_id, "phone").chance(70) else macs[:1]),
    )


def _mac(*scope: object) -> str:
    # The second digit "a" marks an address as locally administered: none belongs to a maker's device.
    digits = "da" + digest(*scope, size_bytes=5)
    return "mac:" + "-".join(digits[i : i + 2] for i in range(0, 12, 2))
