"""The index as a memory: examples, what to practise again, and why."""
