"""Firmware for Cortex-M from a quantized graph: `generate` writes it, `build` links it."""

from firmware_gen.firmware import GeneratedFirmware, build, check_fit, generate

__all__ = ["GeneratedFirmware", "build", "check_fit", "generate"]
