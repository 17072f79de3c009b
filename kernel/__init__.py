"""What everyone shares, and nothing else: settings, errors, ids, types, ports, database, index, embedder, jobs, audit."""
