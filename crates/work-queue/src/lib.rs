//! A durable work queue.
