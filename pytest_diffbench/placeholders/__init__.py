"""Tensors without data, which a full-size pipeline is planned with."""
