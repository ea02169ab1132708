//! Sessions without lost updates.
