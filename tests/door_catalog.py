"""The smallest catalog that bills: each time that Ada opens a door is a line of ACME's."""


def door_catalog(unit_price: str = "1.10") -> str:
    """Return it as YAML; an entry costs `unit_price`, also to who has no plan."""
    return f"""
operator: northside
currency: EUR
timezone: Europe/Berlin
default_plan: open
sites:
  berlin: {{name: Berlin, timezone: Europe/Berlin}}
meters:
  entries: {{event: door.access, where: {{granted: true}}, aggregate: count, unit: entry}}
plans:
  open: {{name: Open, prices: {{entries: [{{id: entry, model: per_unit, unit_price: "{unit_price}"}}]}}}}
accounts:
  acme: {{name: ACME}}
members:
  ada: {{account: acme, name: Ada, identities: [{{id: "badge:04A2991B", from: 2026-01-01}}]}}
"""
