"""What everyone shares, and nothing else: settings, errors, ids, types, ports, storage, embedder, jobs, audit."""
