//! Read routing that knows replication lag.
