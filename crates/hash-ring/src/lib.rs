//! Consistent placement of keys on nodes.
