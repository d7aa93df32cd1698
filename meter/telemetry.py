"""What the gateway tells its operators: each event of operation is one function with its log entry and its metric.

Names follow Prometheus' conventions (base units, `_total` for counters). Labels are bounded: never a member, an
account, a device or an event id. Logs carry no secrets, and nothing personal above debug level.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from meter import __version__
from meter.clock import monotonic_s
from meter.log import log

# From a commit on a fast disk to a site that comes back after days.
_AGE_BUCKETS_S: Final = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400, 259200, 604800)
# From seconds, where a target takes charges at once, to an outage of days.
_LAG_BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400, 259200, 604800)
_FAST_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# A catalog is written by people; a label value beyond this many of a kind is counted as "other".
LABEL_VALUES_MAX: Final = 200
# What others send must not fill the log's disk: of a kind one line in so long, which counts the others.
LOG_INTERVAL_S: Final = 5.0

# A `_created` series beside every counter and histogram says nothing that Prometheus reads from this format.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Telemetry:
    """The metrics of one gateway, in a registry of their own, and the functions that move them."""

    def __init__(self) -> None:
        """Register every metric, so that each is exposed from the first scrape on."""
        self.registry = registry = CollectorRegistry()
        self._events = Counter(
            "meter_events", "Events received, by channel and outcome", ["channel", "outcome"], registry=registry
        )
        self._event_age = Histogram(
            "meter_event_age_seconds", "From an event's time to its receipt", buckets=_AGE_BUCKETS_S, registry=registry
        )
        self._commit = Histogram(
            "meter_ingest_commit_seconds", "One ingest transaction", buckets=_FAST_BUCKETS_S, registry=registry
        )
        self._rating_lag = Histogram(
            "meter_rating_lag_seconds",
            "From an event's receipt to its rating's commit",
            buckets=_FAST_BUCKETS_S,
            registry=registry,
        )
        self._publish_to_rated = Histogram(
            "meter_publish_to_rated_seconds",
            "From the time of a live event to its rating's commit",
            buckets=_FAST_BUCKETS_S,
            registry=registry,
        )
        self._charges = Counter("meter_charges", "Charges booked", ["meter", "kind"], registry=registry)
        self._unpriced = Counter("meter_unpriced_charges", "Charges booked at 0 for want of a price", registry=registry)
        self._unread = Counter(
            "meter_unread_values", "Values that no meter could count, by why", ["meter", "code"], registry=registry
        )
        self._doubtful = Counter(
            "meter_doubtful_times", "Events accepted whose time is doubtful, by why", ["flag"], registry=registry
        )
        self._refolds = Counter("meter_refolds", "Accounts folded again from a checkpoint", registry=registry)
        self._fold_failures = Counter("meter_fold_failures", "Accounts whose fold failed", registry=registry)
        self._closed = Counter("meter_periods_closed", "Billing periods closed as complete", registry=registry)
        self._suspense = Counter(
            "meter_suspense_entries", "Journal entries with a posting that waits in suspense", registry=registry
        )
        self.unresolved = Gauge("meter_unresolved_events", "Events that no member answers for", registry=registry)
        self.backed_up = Gauge(
            "meter_backup_timestamp_seconds",
            "Unix time of the newest backup; 0: none was made",
            registry=registry,
        )
        self._rejections = Counter("meter_rejections", "Events refused, by reason", ["code"], registry=registry)
        self.outbox_pending = Gauge("meter_outbox_pending", "Items not yet delivered", ["target"], registry=registry)
        self.outbox_oldest = Gauge(
            "meter_outbox_oldest_seconds", "Age of the oldest item not yet delivered", ["target"], registry=registry
        )
        self.gather_lag = Gauge(
            "meter_gather_lag_seconds",
            "Age of the first charge that a target has not read",
            ["target"],
            registry=registry,
        )
        self._deliveries = Counter(
            "meter_deliveries", "Delivery attempts by outcome", ["target", "outcome"], registry=registry
        )
        self._delivery = Histogram(
            "meter_delivery_seconds", "One delivery attempt", ["target"], buckets=_FAST_BUCKETS_S, registry=registry
        )
        self._delivery_lag = Histogram(
            "meter_delivery_lag_seconds",
            "From the booking of the oldest content of an item to the target's answer",
            ["target"],
            buckets=_LAG_BUCKETS_S,
            registry=registry,
        )
        self._target_open = Gauge(
            "meter_target_open", "1 while a target counts as down and is only probed", ["target"], registry=registry
        )
        self._target_barred = Gauge(
            "meter_target_barred",
            "1 while a target lets us in no more: its key or a permission",
            ["target"],
            registry=registry,
        )
        self._throttled = Counter(
            "meter_target_throttled", "Attempts that a target asked to be made later", ["target"], registry=registry
        )
        self._oauth_refreshes = Counter(
            "meter_oauth_refreshes", "Access tokens asked for, by outcome", ["target", "outcome"], registry=registry
        )
        self._oauth_lasts = Gauge(
            "meter_oauth_authorisation_seconds",
            "How long the refresh token of a target lasted when it was last looked at",
            ["target"],
            registry=registry,
        )
        self.site_complete_until = Gauge(
            "meter_site_complete_until_seconds", "Unix time up to which a site is complete", ["site"], registry=registry
        )
        self._edge_up = Gauge("meter_edge_up", "1 while every agent of a site is heard of", ["site"], registry=registry)
        self._edge_spooled = Gauge(
            "meter_edge_spooled_events", "Events that the agents of a site still hold", ["site"], registry=registry
        )
        self._edge_clock_offset = Gauge(
            "meter_edge_clock_offset_seconds",
            "The clock of a site's agents minus the true time, of the one that is furthest off",
            ["site"],
            registry=registry,
        )
        self._edge_holes = Gauge(
            "meter_edge_holes",
            "Ranges of events that are missing before others of the same agent",
            ["site"],
            registry=registry,
        )
        self._edge_faults = Gauge(
            "meter_edge_faults", "Faults that the agents of a site tell of themselves", ["site"], registry=registry
        )
        self._edge_untold = Gauge(
            "meter_edge_untold_answers",
            "Answers that the agents of a site gave to asks and the gateway was not told of yet",
            ["site"],
            registry=registry,
        )
        self._edge_risk_used = Gauge(
            "meter_edge_risk_used_ratio",
            "The share of its risk limit that an agent of a site has in use, of the one that has most",
            ["site"],
            registry=registry,
        )
        self._secret_changes = Counter(
            "meter_secret_changes",
            "Files with secrets that changed: taken, or kept as before",
            ["outcome"],
            registry=registry,
        )
        self._secrets_kept = Gauge(
            "meter_secret_files_kept", "Files with secrets whose new content is not used", registry=registry
        )
        self._mqtt_connected = Gauge("meter_mqtt_connected", "1 while a session is connected", registry=registry)
        self._retained = Counter("meter_mqtt_retained", "Retained messages ignored", registry=registry)
        self._webhook_refusals = Counter(
            "meter_webhook_refusals", "Webhooks refused for their signature", ["vendor"], registry=registry
        )
        self._radius_packets = Counter(
            "meter_radius_packets", "Packets at the RADIUS accounting port, by outcome", ["outcome"], registry=registry
        )
        self._source_requests = Counter(
            "meter_source_requests", "Questions to vendors, by outcome", ["vendor", "outcome"], registry=registry
        )
        self._source_pending = Gauge(
            "meter_source_pending", "Objects of vendors still to be fetched", ["vendor"], registry=registry
        )
        self._source_polled = Gauge(
            "meter_source_polled_seconds",
            "Unix time at which a poll was last answered",
            ["vendor", "source"],
            registry=registry,
        )
        self._authorizations = Counter(
            "meter_authorizations",
            "Asks before acting by their answer (allowed, refused, repeated, offline), and what became of them "
            "(released, settled, settled_late)",
            ["outcome"],
            registry=registry,
        )
        self._authorization = Histogram(
            "meter_authorization_seconds", "Answering one ask", buckets=_FAST_BUCKETS_S, registry=registry
        )
        self._http = Histogram(
            "meter_http_request_seconds",
            "HTTP requests by route and status",
            ["route", "method", "status"],
            buckets=_FAST_BUCKETS_S,
            registry=registry,
        )
        self._http_connections = Gauge("meter_http_connections", "Open HTTP connections", registry=registry)
        self._http_dropped = Counter(
            "meter_http_connections_dropped",
            "HTTP connections closed because there were too many, longest waiting first",
            registry=registry,
        )
        self._http_throttled = Counter(
            "meter_http_throttled", "HTTP requests refused for their rate", ["reason"], registry=registry
        )
        self._sealed_at = Gauge(
            "meter_audit_sealed_at_seconds",
            "When this process last made sure that everything is sealed (Unix time); 0: never",
            registry=registry,
        )
        self._sealed_rows = Counter("meter_audit_sealed_rows", "Rows that were sealed", registry=registry)
        self._head_told_at = Gauge(
            "meter_audit_head_told_at_seconds",
            "When this process last made sure that the newest seal is kept outside (Unix time); 0: never",
            registry=registry,
        )
        self._evidence = Gauge(
            "meter_evidence_timestamp_seconds",
            "Unix time of the newest export of the evidence that this process knows of; 0: of none",
            registry=registry,
        )
        self._evidence_interval = Gauge(
            "meter_evidence_interval_seconds",
            "How often this process exports the evidence; 0: it does not",
            registry=registry,
        )
        build = Gauge("meter_build_info", "The version that runs", ["version"], registry=registry)
        build.labels(version=__version__).set(1)
        self._label_values: dict[str, set[str]] = {}
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def _bounded(self, kind: str, value: str) -> str:
        seen = self._label_values.setdefault(kind, set())
        if value in seen:
            return value
        if len(seen) >= LABEL_VALUES_MAX:
            return "other"
        seen.add(value)
        return value

    def _warn_seldom(self, event: str, kind: str, *, count: int = 1, **facts: str) -> None:
        """Log the first of a `kind` (of bounded number), and after a while the next with how many there were since."""
        moment_s = monotonic_s()
        said_at_s, unsaid = self._said.get((event, kind), (None, 0))
        if said_at_s is not None and moment_s < said_at_s + LOG_INTERVAL_S:
            self._said[event, kind] = (said_at_s, unsaid + count)
            return
        self._said[event, kind] = (moment_s, 0)
        log.warning(event, count=unsaid + count, **facts)

    def events_received(self, *, channel: str, outcome: str, count: int = 1) -> None:
        """Count events by what became of them (accepted, duplicate, rejected, held, ignored)."""
        self._events.labels(channel=channel, outcome=outcome).inc(count)

    def event_aged(self, seconds: float) -> None:
        """Observe the time from an event to its receipt."""
        self._event_age.observe(seconds)

    def time_doubted(self, flag: str) -> None:
        """Count an event whose time is doubtful; `flag` is one of few words."""
        self._doubtful.labels(flag=flag).inc()

    def ingest_committed(self, seconds: float) -> None:
        """Observe one ingest transaction."""
        self._commit.observe(seconds)

    def rejected(self, *, code: str, channel: str, origin: str, count: int = 1) -> None:
        """Count and log refusals; the bytes are in the rejections, not in the log."""
        label = self._bounded("code", code)
        self._rejections.labels(code=label).inc(count)
        self._warn_seldom("event_rejected", label, count=count, code=code, channel=channel, origin=origin[:120])

    def rated(self, *, lag_s: float, live_s: float | None) -> None:
        """Observe one rated event: seconds since its receipt and, if it came live, since it happened."""
        self._rating_lag.observe(lag_s)
        if live_s is not None:
            self._publish_to_rated.observe(live_s)

    def charge_booked(self, *, meter: str, kind: str, unpriced: bool) -> None:
        """Count one booked charge."""
        self._charges.labels(meter=self._bounded("meter", meter), kind=kind).inc()
        if unpriced:
            self._unpriced.inc()

    def value_unread(self, *, meter: str, code: str, source: str, event_id: str) -> None:
        """Count and log what is new on the list of what no meter could count (unread, orphan, refund)."""
        label = self._bounded("meter", meter)
        self._unread.labels(meter=label, code=code).inc()
        self._warn_seldom(
            "value_unread", f"{label} {code}", meter=meter, code=code, source=source[:120], event_id=event_id[:120]
        )

    def account_refolded(self, *, reason: str, differences: int) -> None:
        """Count and log that an account was folded again, and how many lines differed."""
        self._refolds.inc()
        log.debug("account_refolded", reason=reason, differences=differences)

    def fold_failed(self, *, fault: Exception) -> None:
        """Count and log that an account's fold failed: a fault of ours. Its events wait, its neighbours do not."""
        self._fold_failures.inc()
        log.error("fold_failed", exc_info=fault)

    def periods_closed(self, count: int) -> None:
        """Count and log billing periods that were closed because they are complete."""
        self._closed.inc(count)
        if count:
            log.info("periods_closed", count=count)

    def entries_suspended(self, count: int) -> None:
        """Count journal entries with a posting in suspense: an account is missing in the catalog's chart."""
        self._suspense.inc(count)
        if count:
            self._warn_seldom("entries_suspended", "entries", count=count)

    def delivery_attempted(self, *, target: str, outcome: str, seconds: float) -> None:
        """Observe one attempt to deliver."""
        target = self._bounded("target", target)
        self._deliveries.labels(target=target, outcome=outcome).inc()
        self._delivery.labels(target=target).observe(seconds)

    def delivered(self, *, target: str, lag_s: float) -> None:
        """Observe how long ago the oldest content of an item that was delivered had been booked."""
        self._delivery_lag.labels(target=self._bounded("target", target)).observe(lag_s)

    def deliveries_died(self, *, target: str, count: int, delivery: int | None = None) -> None:
        """Log items that a person has to look at: `delivery` is one that was refused, None: they were made dead.

        What the target said of it is in the delivery, not in the log: it may name people.
        """
        label = self._bounded("target", target)
        remedy = "see meter deliveries --state dead, mend what they say, then meter deliveries retry"
        if delivery is None:
            self._warn_seldom("delivery_born_dead", label, count=count, target=target, remedy=remedy)
        else:
            facts = {"target": target, "delivery": str(delivery), "remedy": remedy}
            self._warn_seldom("delivery_dead", label, count=count, **facts)

    def target_barred(self, *, target: str, status: int | None, remedy: str) -> None:
        """Log that a target lets us in no more; what is for it waits. `status` None: we have nothing to ask it with."""
        said = "none" if status is None else str(status)
        label = self._bounded("target", target)
        self._warn_seldom("target_barred", label, target=target, status=said, remedy=remedy)

    def target_went_down(self, *, target: str) -> None:
        """Log that a target counts as down: it is probed alone, and what is for it waits."""
        self._warn_seldom("target_down", self._bounded("target", target), target=target)

    def target_came_up(self, *, target: str) -> None:
        """Log that a target takes deliveries again, after it was down or let us in no more."""
        self._warn_seldom("target_up", self._bounded("target", target), target=target)

    def target_heard(self, *, target: str, down: bool, throttled: int, barred: bool = False) -> None:
        """Show whether a target counts as down, and whether for our credentials; count attempts that it put off."""
        target = self._bounded("target", target)
        self._target_open.labels(target=target).set(1 if down else 0)
        self._target_barred.labels(target=target).set(1 if barred else 0)
        self._throttled.labels(target=target).inc(throttled)

    def token_refreshed(self, *, target: str, outcome: str) -> None:
        """Count a question for an access token: refreshed, refused or unavailable."""
        self._oauth_refreshes.labels(target=self._bounded("target", target), outcome=outcome).inc()

    def authorisation_lasts(self, *, target: str, seconds: float) -> None:
        """Show how long it is until somebody has to authorise the app at a target again."""
        self._oauth_lasts.labels(target=self._bounded("target", target)).set(seconds)

    @property
    def edges(self) -> tuple[Gauge, ...]:
        """Return the gauges of agents on site, each by site."""
        seen = (self._edge_up, self._edge_spooled, self._edge_clock_offset, self._edge_holes, self._edge_faults)
        return *seen, self._edge_untold, self._edge_risk_used

    def edges_measured(
        self,
        *,
        site: str,
        up: bool,
        spooled: int,
        holes: int,
        faults: int,
        untold: int,
        risk_used: float,
        clock_offset_s: float | None,
    ) -> None:
        """Show how the agents of a site are; `clock_offset_s` None: no clock was measured."""
        self._edge_untold.labels(site=site).set(untold)
        self._edge_risk_used.labels(site=site).set(risk_used)
        self._edge_up.labels(site=site).set(1 if up else 0)
        self._edge_spooled.labels(site=site).set(spooled)
        self._edge_holes.labels(site=site).set(holes)
        self._edge_faults.labels(site=site).set(faults)
        if clock_offset_s is not None:
            self._edge_clock_offset.labels(site=site).set(clock_offset_s)

    def secret_changed(self, *, outcome: str) -> None:
        """Count a file with a secret that changed; its caller logs it."""
        self._secret_changes.labels(outcome).inc()

    def secret_files_kept(self, count: int) -> None:
        """Tell how many files hold what is not used."""
        self._secrets_kept.set(count)

    def mqtt_connected(self, *, connected: bool, client_id: str, reason: str = "") -> None:
        """Log and show that the MQTT session is up or down."""
        self._mqtt_connected.set(1 if connected else 0)
        log.info("mqtt_connected" if connected else "mqtt_disconnected", client_id=client_id, reason=reason)

    def retained_ignored(self) -> None:
        """Count a retained message: state, not usage."""
        self._retained.inc()

    def webhook_refused(self, *, vendor: str, source: str, reason: str) -> None:
        """Count and log a webhook that did not prove its origin."""
        label = self._bounded("vendor", vendor)
        self._webhook_refusals.labels(vendor=label).inc()
        self._warn_seldom("webhook_refused", label, vendor=vendor, source=source[:60], reason=reason)

    def radius_received(self, outcome: str) -> None:
        """Count a packet: accepted, malformed, unknown_client, bad_authenticator or overloaded."""
        self._radius_packets.labels(outcome=outcome).inc()
        if outcome != "accepted":
            self._warn_seldom("radius_dropped", outcome, outcome=outcome)

    def source_asked(self, *, vendor: str, outcome: str) -> None:
        """Count a question to a vendor: answered, unavailable, declined (a setting is wrong) or unreadable."""
        self._source_requests.labels(vendor=self._bounded("vendor", vendor), outcome=outcome).inc()
        if outcome != "answered":
            self._warn_seldom("source_not_answered", f"{vendor} {outcome}", vendor=vendor, outcome=outcome)

    def sources_measured(self, *, pending: Mapping[str, int], polled: Mapping[tuple[str, str], float]) -> None:
        """Show what is still to be fetched by vendor, and when each source (vendor, name) was last polled."""
        for vendor, count in pending.items():
            self._source_pending.labels(vendor=self._bounded("vendor", vendor)).set(count)
        for (vendor, source), moment_s in polled.items():
            label = self._bounded("source", source)
            self._source_polled.labels(vendor=self._bounded("vendor", vendor), source=label).set(moment_s)

    def authorized(self, outcome: str, *, seconds: float) -> None:
        """Count and observe one answered ask: allowed, refused, repeated, or told of by an agent (offline)."""
        self._authorizations.labels(outcome=outcome).inc()
        self._authorization.observe(seconds)

    def sealed(self, at: float, *, rows: int) -> None:
        """What was added until `at` (Unix time) is sealed."""
        self._sealed_at.set(at)
        self._sealed_rows.inc(rows)

    def head_told(self, at: float) -> None:
        """At `at` (Unix time) the newest seal is kept outside."""
        self._head_told_at.set(at)

    def evidence_wanted(self, *, every_s: float) -> None:
        """The evidence is to be exported so often."""
        self._evidence_interval.set(every_s)

    def evidence_known(self, at: float) -> None:
        """There is an export of the evidence of `at` (Unix time)."""
        self._evidence.set(at)

    def authorization_released(self) -> None:
        """Count a reservation that its asker let go."""
        self._authorizations.labels(outcome="released").inc()

    def authorizations_settled(self, total: int, *, late: int) -> None:
        """Count reservations that events have settled, `late` of them when they had expired or were released."""
        if total:
            self._authorizations.labels(outcome="settled").inc(total - late)
            self._authorizations.labels(outcome="settled_late").inc(late)

    def http_connected(self, count: int) -> None:
        """Show how many connections are open."""
        self._http_connections.set(count)

    def http_dropped(self) -> None:
        """Count a connection that was closed for another one, and say so now and then."""
        self._http_dropped.inc()
        self._warn_seldom("http_connections_dropped", "")

    def http_throttled(self, reason: Literal["key", "unknown_key"]) -> None:
        """Count a request that came too soon after others of its key, or of its address with unknown keys."""
        self._http_throttled.labels(reason=reason).inc()
        self._warn_seldom("http_throttled", reason, reason=reason)

    def http_answered(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """Observe one answered request; `route` is the pattern, not the path."""
        self._http.labels(route=self._bounded("route", route), method=method, status=str(status)).observe(seconds)
