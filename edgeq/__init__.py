"""edgeq: from a trained network to bit-exact integer firmware on a Cortex-M."""
