"""Benchmarks: each runs us and the peer side by side and prints the ratio."""
