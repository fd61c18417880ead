"""edgeq: from a trained network to bit-exact integer firmware on a Cortex-M."""

from edgeq.errors import EdgeqError
from edgeq.graph import Graph
from edgeq.importers import read_model
from edgeq.interpreter import Interpreter
from edgeq.quantize import quantize
from edgeq.scheme import Scheme

__all__ = ["EdgeqError", "Graph", "Interpreter", "Scheme", "quantize", "read_model"]
