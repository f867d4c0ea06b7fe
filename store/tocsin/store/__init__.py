"""Where the truth lives: sessions, the event log, positions, leases, secrets."""
