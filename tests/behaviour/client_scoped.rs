//! Tenants, collections, keys and keys of idempotency, from the command line.
