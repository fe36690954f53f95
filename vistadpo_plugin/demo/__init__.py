"""The demo's own data, model and table: everything it needs is made on the spot."""
