"""What everyone shares, and nothing else: settings, errors, ids, types, ports, storage, embedder, jobs, audit."""

import os

# PyTorch's threads wait for each other some hundred times while it embeds one question. By default they wait by running
# in circles, and where the cores are busy that keeps the one they wait for from running: an answer then took seconds
# (decision 0021). libgomp reads this once, when torch is imported, and whoever set it otherwise is left alone.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
