"""PostgreSQL and an MQTT broker as children of the gateway: see README.md."""
