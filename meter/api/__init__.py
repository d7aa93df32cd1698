"""The HTTP interface: routes, who may call them, what errors look like. See README.md."""
