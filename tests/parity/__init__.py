"""Parity with the reference implementations: `python -m tests.parity DIR`, or `./just parity DIR`.

A fixture is a folder of stored inputs, weights and outputs of a reference implementation. Its name
begins with the name of a system; `systems/` holds one file per system, which rebuilds the system
from the fixture's options through the public API and compares every stored value.
"""
