//! Durable stores on redb.
