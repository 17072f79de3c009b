"""Recipes, training, evaluation, the gate, the registry of adapters, schedules."""
