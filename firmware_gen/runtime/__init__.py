"""C sources of the device side, compiled as they are, and the table of drivers (drivers.py)."""
