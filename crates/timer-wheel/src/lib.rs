//! A hierarchical timer wheel with bounded work a call.
