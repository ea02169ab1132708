//! A concurrent cache.
