"""Settings: the only place that reads the environment.

Sources, strongest first: arguments of the command line, `METER_*` variables (`__` for nesting), files named by
`METER_..._FILE` (secrets), `meter.toml` in the working directory (or where `METER_CONFIG` says), the defaults here.
`docs/settings.md` lists them; a test keeps the two equal.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from meter.model.errors import BadInput
from meter.model.hashing import KEY_BYTES_MIN
from meter.model.identity import is_kind
from meter.model.likeness import did_you_mean

_PREFIX: Final = "METER_"
_FILE_SUFFIX: Final = "_FILE"
# As long as an agent that was away keeps what it heard: what comes late, and corrections of it, still find all of it.
MOVEMENTS_DAYS_MIN: Final = 35
ROLES: Final = ("ingest", "rate", "export", "api")
# Schemes that a URL may have, and how one is written.
_URLS: Final = {
    "database_url": (("postgresql", "postgresql+asyncpg"), "postgresql://user:password@host:port/name"),
    "mqtt_url": (("mqtt", "mqtts"), "mqtt://user:password@host:port, or mqtts:// for TLS"),
}

# A host name or address as URLs have it, without brackets.
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


# The contents of the files that hold secrets, where somebody has read them already.
_contents: ContextVar[Mapping[str, str] | None] = ContextVar("_contents", default=None)


class ConfigFault(BadInput):
    """The settings do not hold: `detail` names each fault on a line of its own."""

    default_code = "bad_settings"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WebhookSettings(_Strict):
    """One source of a vendor's webhooks: it receives at `/hooks/{vendor}/{name}`."""

    secrets: list[SecretStr] = Field(default_factory=list, max_length=2)
    """The signing keys; two may be active while one is being replaced."""
    url: str | None = None
    """The URL as registered with the vendor, where the vendor signs it."""
    site: str | None = None
    """The site that the source's events belong to."""
    timezone: str = "UTC"
    """The IANA zone of the vendor's times that name none."""
    api_base: str | None = None
    """Where the vendor's API answers; unset: the vendor's own address, where it has one."""
    api_key: SecretStr | None = None
    """With what the vendor's API is asked; unset: nothing is fetched."""
    every_s: Annotated[int, Field(ge=5, le=86400)] | None = None
    """Seconds between two polls; unset: as the vendor bears it."""
    apply: bool = False
    """Whether drafts of members and memberships are applied by themselves."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The vendor's own settings."""


class TargetSettings(_Strict):
    """One export target, by name."""

    kind: Literal[
        "ledger",
        "stripe",
        "stripe-meters",
        "square",
        "quickbooks",
        "xero",
        "cobot",
        "officernd",
        "nexudus",
        "files",
        "webhook",
    ]
    """What it is."""
    enabled: bool = True
    """Whether anything is sent to it."""
    base_url: str | None = None
    """Where it answers; unset: the vendor's own address, where it has one."""
    mode: Literal["invoices", "journals"] | None = None
    """How it is told revenue; unset: as its kind usually is."""
    grain: Literal["charge", "hour", "day", "period"] | None = None
    """What is summed into one line; unset: as its kind usually is."""
    start: date | None = None
    """Nothing of days or billing periods before it is sent; unset: what is booked from its first start on."""
    late_s: Annotated[int, Field(ge=0, le=86400)] = 900
    """Seconds for which what comes late for a sum that was sent is collected before it is sent."""
    company: str | None = None
    """The account at the vendor: a QuickBooks realm, a Xero tenant, a Square location, a subdomain."""
    api_key: SecretStr | None = None
    """The key or token that it is asked with."""
    client_id: str | None = None
    """The OAuth 2.0 client."""
    client_secret: SecretStr | None = None
    """That client's secret."""
    refresh_token: SecretStr | None = None
    """The first refresh token; those that follow are kept in the database."""
    secrets: list[SecretStr] = Field(default_factory=list, max_length=2)
    """Signing keys; two may be active while one is being replaced."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The kind's own settings."""


class HttpTlsSettings(_Strict):
    """With what the HTTP listener speaks TLS. PEM both, as `METER_HTTP_TLS__CERT_FILE` and `KEY_FILE` read them."""

    cert: SecretStr | None = None
    """The certificate, and behind it whoever signed it; unset: plain HTTP."""
    key: SecretStr | None = None
    """Its private key, without a password."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        """Refuse the half of a pair."""
        if (self.cert is None) != (self.key is None):
            here, missing = ("CERT", "KEY") if self.key is None else ("KEY", "CERT")
            message = f"has METER_HTTP_TLS__{here} alone; set METER_HTTP_TLS__{missing}_FILE too"
            raise ValueError(message)
        return self

    @property
    def pair(self) -> tuple[str, str] | None:
        """Return certificate and key, None where there are none."""
        if self.cert is None or self.key is None:
            return None
        return self.cert.get_secret_value(), self.key.get_secret_value()


class OutgoingSettings(_Strict):
    """What outgoing calls may do beyond their rule (docs/deployment.md)."""

    private: list[str] = Field(default_factory=list, max_length=100)
    """Hosts and networks that are called though they are not public."""
    plaintext: list[str] = Field(default_factory=list, max_length=100)
    """Hosts beyond the site's network that are spoken to without TLS."""

    @field_validator("private", "plaintext", mode="after")
    @classmethod
    def _hosts(cls, value: list[str], info: ValidationInfo) -> list[str]:
        """Refuse what would never match anything: an address with a scheme, a port or a path, half a network."""
        for text in value:
            network = info.field_name == "private" and _is_network(text)
            if not network and not _HOST.fullmatch(text):
                what = (
                    "a host or a network, like erp.example or 10.1.0.0/16" if info.field_name == "private" else "a host"
                )
                message = f"{text[:80]!r} is not {what}; without scheme, port and path"
                raise ValueError(message)
        return value


class EdgesSettings(_Strict):
    """What agents on site are told when they enrol, and with what their certificates are signed."""

    http_url: str | None = None
    """Where agents reach the gateway's HTTP interface; unset: where they enrolled."""
    mqtt_url: str | None = None
    """Where agents reach the broker with their certificates; unset: they send over HTTP."""
    trust: str | None = None
    """Whom agents trust at both addresses, PEM; unset: the authorities of their system."""
    ca_key: SecretStr | None = None
    """The key (PEM, P-256) that signs agents' certificates; unset: made once and kept in the data directory."""

    @field_validator("http_url", "mqtt_url", mode="after")
    @classmethod
    def _public(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Refuse what names no server of the kind, or holds credentials: every agent is told it."""
        schemes = ("https", "http") if info.field_name == "http_url" else ("mqtts", "mqtt")
        if value is not None and (not _names_server(value, schemes) or "@" in urlsplit(value).netloc):
            message = f"is no address that agents can be told; write {schemes[0]}://meter.example, without credentials"
            raise ValueError(message)
        return value

    @field_validator("trust", mode="after")
    @classmethod
    def _certificates(cls, value: str | None) -> str | None:
        """Refuse what holds no certificate."""
        if value is not None and "-----BEGIN CERTIFICATE-----" not in value:
            message = "holds no certificate (PEM); METER_EDGES__TRUST_FILE reads it from a file"
            raise ValueError(message)
        return value


class StoreSettings(_Strict):
    """The S3-compatible store of what is kept outside the database, wherever a setting or command says `s3://`."""

    endpoint: str = ""
    """Where it answers; unset: AWS."""
    region: str = "us-east-1"
    """Its region."""
    access_key: str | None = None
    """Its key's id."""
    secret_key: SecretStr | None = None
    """That key."""


class AuditSettings(_Strict):
    """How what is kept for good is sealed."""

    heads: str | None = None
    """The file outside the database to which the newest seal is appended, or `s3://bucket/prefix` (`store`) for an
    object each; unset: `audit/heads.jsonl` in the data directory."""
    every_s: Annotated[int, Field(ge=10, le=86400)] = 300
    """Seconds between two entries of that file."""
    seal_s: Annotated[int, Field(ge=1, le=3600)] = 60
    """Seconds between two blocks of seals."""


class EvidenceSettings(_Strict):
    """Where the evidence is exported to, by the gateway itself."""

    to: str | None = None
    """A directory, or `s3://bucket/prefix` (`store`); unset: only `meter evidence export` makes any."""
    every_days: Annotated[int, Field(ge=1, le=366)] = 7
    """Days between two exports."""


class PrivacySettings(_Strict):
    """For how long what tells of people is kept whole."""

    movements_days: Annotated[int, Field(ge=MOVEMENTS_DAYS_MIN, le=36500)] | None = None
    """Days after which of movements (doors, Wi-Fi) only what a bill needs is kept; unset: they are kept whole."""


class Settings(BaseSettings):
    """Everything that can be set, with its default and unit."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    data_dir: Path = Path("data")
    """Where the embedded parts, the ledger files and made secrets live."""
    database_url: SecretStr | None = None
    """`postgresql://user:password@host:port/name`; unset: embedded in `meter up`."""
    mqtt_url: SecretStr | None = None
    """`mqtt://` or `mqtts://` with user and password; unset: embedded in `meter up`."""
    mqtt_topics: Annotated[list[str], NoDecode] = Field(default_factory=lambda: ["spaces/+/+/+"])
    """MQTT topic filters to subscribe to."""
    mqtt: str = "127.0.0.1:0"
    """HOST:PORT on which the embedded broker listens; port 0: a free one."""
    http: str = "127.0.0.1:8080"
    """HOST:PORT on which the gateway listens; port 0: a free one."""
    http_tls: HttpTlsSettings = Field(default_factory=HttpTlsSettings)
    """The certificate and key with which that listener speaks TLS."""
    http_connections: Annotated[int, Field(ge=16, le=100_000)] = 4096
    """HTTP connections at once; beyond these the one that has waited longest for its peer is closed."""
    http_rate: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    """Requests a second that each key may make, and twice as many at once."""
    radius: str | None = None
    """HOST:PORT (UDP) on which RADIUS accounting is received; unset: none is."""
    admin_key: SecretStr | None = None
    """The key that may do everything; unset: made once and kept in the data directory."""
    hash_identities: Annotated[list[str], NoDecode] = Field(default_factory=lambda: ["mac"])
    """Kinds of identity that are stored as keyed hashes; the same for every gateway of a database."""
    identity_key: SecretStr | None = None
    """The key of those hashes; unset: made once and kept in the data directory."""
    catalog: Annotated[list[Path], NoDecode] = Field(default_factory=list)
    """Catalog files that `meter up` applies at start."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe log entries that are written."""
    max_age_days: Annotated[int, Field(ge=1, le=36500)] = 400
    """Days after which an event is `too_old`."""
    offline_after_s: Annotated[int, Field(ge=30, le=86400)] = 300
    """Seconds without a heartbeat after which an agent on site counts as offline."""
    outgoing: OutgoingSettings = Field(default_factory=OutgoingSettings)
    """Where outgoing calls may lead."""
    audit: AuditSettings = Field(default_factory=AuditSettings)
    """How what is kept for good is sealed."""
    evidence: EvidenceSettings = Field(default_factory=EvidenceSettings)
    """Where the evidence is exported to, and how often."""
    privacy: PrivacySettings = Field(default_factory=PrivacySettings)
    """For how long what tells of people is kept whole."""
    edges: EdgesSettings = Field(default_factory=EdgesSettings)
    """How agents on site are enrolled."""
    store: StoreSettings = Field(default_factory=StoreSettings)
    """How the S3-compatible store of backups and other copies is reached."""
    rating_shards: Annotated[int, Field(ge=1, le=1024)] = 8
    """Shards among which accounts are divided; the same for every gateway of a database."""
    webhooks: dict[str, dict[str, WebhookSettings]] = Field(default_factory=dict)
    """Webhook sources by vendor and name."""
    targets: dict[str, TargetSettings] = Field(default_factory=lambda: {"ledger": TargetSettings(kind="ledger")})
    """Export targets by name."""

    def digest(self) -> str:
        """Return the SHA-256 of every setting, in hexadecimal; of secrets only that they are set."""
        told = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def heads_place(self) -> str:
        """Return where the seals' heads are kept: a file, or a store."""
        return self.audit.heads or str(self.data_dir / "audit" / "heads.jsonl")

    @field_validator("mqtt_topics", "catalog", "hash_identities", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Read a list from the environment: a JSON list, or words with commas between them."""
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return [part.strip() for part in value.split(",") if part.strip()]

    @field_validator("http", "mqtt", "radius", mode="after")
    @classmethod
    def _address(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Refuse what is no HOST:PORT here, where it is told beside every other fault."""
        if value is None:
            return None
        try:
            listen_address(value, setting=info.field_name or "")
        except ConfigFault:
            message = "is not HOST:PORT, like 127.0.0.1:8080"
            raise ValueError(message) from None
        return value

    @field_validator("hash_identities", mode="after")
    @classmethod
    def _kinds(cls, value: list[str]) -> list[str]:
        """Refuse what is no kind of identity, or names a member itself."""
        wrong = sorted({kind for kind in value if not is_kind(kind) or kind == "member"})
        if wrong:
            message = f"{', '.join(wrong)[:80]}: no kind of identity that can be hashed, like mac, badge or email"
            raise ValueError(message)
        return value

    @field_validator("identity_key", mode="after")
    @classmethod
    def _key(cls, value: SecretStr | None) -> SecretStr | None:
        """Refuse a key that can be guessed."""
        if value is not None and len(value.get_secret_value().encode()) < KEY_BYTES_MIN:
            message = f"is shorter than {KEY_BYTES_MIN} bytes; take random ones, like `openssl rand -hex 32` prints"
            raise ValueError(message)
        return value

    @field_validator("database_url", "mqtt_url", mode="after")
    @classmethod
    def _url(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Refuse what names no server of the kind; the value stays unsaid, for it may hold a password."""
        schemes, example = _URLS[info.field_name or ""]
        if value is not None and not _names_server(value.get_secret_value(), schemes):
            message = f"names no server; write {example}"
            raise ValueError(message)
        return value

    @field_validator("webhooks", mode="after")
    @classmethod
    def _hyphens(cls, webhooks: dict[str, dict[str, WebhookSettings]]) -> dict[str, dict[str, WebhookSettings]]:
        """Give names one spelling: the environment cannot say a hyphen."""
        return {
            vendor.replace("_", "-"): {name.replace("_", "-"): source for name, source in sources.items()}
            for vendor, sources in webhooks.items()
        }

    @field_validator("targets", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """Give names one spelling, as the environment cannot say a hyphen, and a target named after a kind its kind."""
        if not isinstance(value, dict):
            return value
        spelled = {str(name).replace("_", "-"): target for name, target in value.items()}
        return {
            name: {"kind": name, **target} if isinstance(target, dict) else target for name, target in spelled.items()
        }

    @field_validator("targets", mode="after")
    @classmethod
    def _with_ledger(cls, targets: dict[str, TargetSettings]) -> dict[str, TargetSettings]:
        """Add the ledger, which is there unless it is switched off by name."""
        if any(target.kind == "ledger" for target in targets.values()):
            return targets
        return {"ledger": TargetSettings(kind="ledger"), **targets}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- pydantic-settings' signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- pydantic-settings' signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- pydantic-settings' signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, strongest first."""
        return (
            init_settings,
            _Variables(settings_cls),
            _SecretFiles(settings_cls),
            TomlConfigSettingsSource(settings_cls, Path(os.environ.get("METER_CONFIG", "meter.toml"))),
        )


class _Named(EnvSettingsSource):
    """Names the variable that is not the JSON it has to be: pydantic names no more than the setting at the top."""

    def explode_env_vars(self, field_name: str, field: FieldInfo, env_vars: Mapping[str, str | None]) -> dict[str, Any]:
        """Return the nested values of a setting. Raises ConfigFault."""
        try:
            return super().explode_env_vars(field_name, field, env_vars)
        except ValueError:
            wrong = [
                name.upper() for name, value in env_vars.items() if not self._is_read(field_name, field, name, value)
            ]
            raise ConfigFault("\n".join(f"{name}: is not JSON" for name in sorted(wrong))) from None

    def _is_read(self, field_name: str, field: FieldInfo, name: str, value: str | None) -> bool:
        try:
            super().explode_env_vars(field_name, field, {name: value})
        except ValueError:
            return False
        return True


class _Variables(_Named):
    """Reads the variables themselves; those that name a file, nested ones too, are for `_SecretFiles`."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in os.environ.items() if not name.upper().endswith(_FILE_SUFFIX)}


class _SecretFiles(_Named):
    """Reads each `METER_X_FILE` as the value of `METER_X`, without its last line break."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        contents = _contents.get()
        if contents is None:
            contents = {variable: secret_file(variable, path) for variable, path in secret_files().items()}
        return {variable.removesuffix(_FILE_SUFFIX).lower(): content for variable, content in contents.items()}


def secret_files() -> dict[str, Path]:
    """Return the files that hold settings, by variable (`METER_X_FILE`)."""
    return {
        name.upper(): Path(path)
        for name, path in os.environ.items()
        if name.upper().startswith(_PREFIX) and name.upper().endswith(_FILE_SUFFIX) and path
        if not name.upper().startswith("METER_EDGE_")  # the agent's, which may run beside a gateway
    }


def secret_file(variable: str, path: Path) -> str:
    """Return what a file that holds a setting says, without its last line break. Raises ConfigFault."""
    try:
        content = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{variable}: cannot read {path}: {error}; name a readable UTF-8 file"
        raise ConfigFault(message) from error
    if not content.strip():
        raise ConfigFault(f"{variable}: {path} is empty; write the value into it, or do not name it")
    return content


def load_settings(*, files: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Return the settings; `overrides` (None: not given) win. `files`: what `METER_X_FILE` hold, already read.

    Raises ConfigFault that names every fault at once, with the variable that causes it and without any value.
    """
    unknown = _unknown_variables()
    given = {name: value for name, value in overrides.items() if value is not None}
    reading = _contents.set(files)
    try:
        settings = Settings(**given)
    except (SettingsError, TOMLDecodeError) as error:
        raise ConfigFault("\n".join([f"{error}; write JSON in the environment, TOML in the file", *unknown])) from None
    except ValidationError as error:
        faults = [_fault_text(fault["loc"], fault["msg"]) + _meant(fault) for fault in error.errors()]
        raise ConfigFault("\n".join([*faults, *unknown])) from None
    finally:
        _contents.reset(reading)
    if unknown:
        raise ConfigFault("\n".join(unknown))
    return settings


def variable_of(*location: int | str) -> str:
    """Return the environment's name of a setting, by its place in the tree of settings."""
    return _PREFIX + "__".join(str(part) for part in location).upper().replace("-", "_")


def _fault_text(location: tuple[int | str, ...], message: str) -> str:
    if message == "Extra inputs are not permitted":
        message = "no such setting; docs/settings.md lists them all"
    return f"{variable_of(*location)}: {message.removeprefix('Value error, ')}"


def _meant(fault: ErrorDetails) -> str:
    """Return which word was likely meant where a setting is one of some: none of those is a secret."""
    if fault["type"] != "literal_error" or not isinstance(fault["input"], str):
        return ""
    return did_you_mean(fault["input"], re.findall("'([^']*)'", fault["ctx"]["expected"]))


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _names_server(url: str, schemes: Collection[str]) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and parts.port != 0 and (bool(parts.hostname) or parts.scheme.startswith("post"))
    except ValueError:  # a port that is none, half a bracket
        return False


def _unknown_variables() -> list[str]:
    """Return a fault for each METER_ variable that no setting has: a typing error must not pass for a default."""
    known = {name.upper() for name in Settings.model_fields} | {"CONFIG"}
    faults = []
    for variable in sorted(os.environ):
        # The agent on site has settings of its own, and may run beside a gateway.
        if not variable.startswith(_PREFIX) or variable.startswith(("METER_TEST_", "METER_EDGE_")):
            continue
        name = variable.removeprefix(_PREFIX).split("__")[0]
        if name not in known and name.removesuffix(_FILE_SUFFIX) not in known:
            faults.append(f"{variable}: no such setting; docs/settings.md lists them all")
    return faults


def listen_address(text: str, *, setting: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT` (IPv6 in brackets). Raises ConfigFault naming `setting`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        message = f"{setting}: {text!r} is not HOST:PORT, like 127.0.0.1:8080"
        raise ConfigFault(message)
    return host.strip("[]") or "127.0.0.1", int(port)
