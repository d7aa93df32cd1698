"""Usage metering gateway for coworking operators."""

__version__ = "0.1.0"
