"""Bytes to published version: parse, chunk, diff, publish, delete."""
