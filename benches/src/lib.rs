//! The workloads of the benches and of the comparison with rivals, written once so that both mean the same
//! thing by the same name.

pub mod keys;
pub mod trace;
pub mod zipf;
