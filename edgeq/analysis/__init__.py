"""Where quantization loses what: noise by layer, sensitivity, bits, distributions."""
