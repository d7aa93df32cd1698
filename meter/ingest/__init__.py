"""How events get in: MQTT, HTTP and webhooks through one door (see README.md)."""
