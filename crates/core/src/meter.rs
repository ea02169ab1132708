/// Something that counts, and whose counters can be pulled.
///
/// The crates' `Stats` snapshots implement this. Nothing is pushed and nothing is registered anywhere: the
/// application takes a snapshot when it wants one and sends it where it likes, by its own loop over the
/// readings or through the `metrics` and `tracing` features.
///
/// Names read `purlin_<crate>_<what>_<unit>`, and counters end in `_total`.
///
/// ```
/// use purlin_core::{Meter, Reading, Value};
///
/// struct Door { opened: u64 }
///
/// impl Meter for Door {
///     fn read(&self, each: &mut dyn FnMut(Reading)) {
///         each(Reading::counter("door_opened_total", self.opened));
///     }
/// }
///
/// let mut lines = Vec::new();
/// Door { opened: 3 }.read(&mut |reading| lines.push(format!("{} {}", reading.name, reading.value)));
/// assert_eq!(lines, ["door_opened_total 3"]);
/// ```
pub trait Meter {
    /// Calls `each` once for every counter, in a fixed order.
    fn read(&self, each: &mut dyn FnMut(Reading));
}

/// One counter's name and value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// `purlin_<crate>_<what>_<unit>`.
    pub name: &'static str,
    /// What it stands at.
    pub value: Value,
}

/// What a counter stands at.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Only ever grows, from zero at the start of the structure it belongs to.
    Counter(u64),
    /// Goes up and down.
    Gauge(f64),
}

impl Reading {
    /// A reading of something that only grows.
    pub const fn counter(name: &'static str, count: u64) -> Self {
        Reading {
            name,
            value: Value::Counter(count),
        }
    }

    /// A reading of something that goes up and down.
    pub const fn gauge(name: &'static str, level: f64) -> Self {
        Reading {
            name,
            value: Value::Gauge(level),
        }
    }
}

impl core::fmt::Display for Value {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Value::Counter(count) => count.fmt(f),
            Value::Gauge(level) => level.fmt(f),
        }
    }
}

/// Sets the counters and gauges of the `metrics` facade to a meter's readings, each with a label
/// `instance`.
///
/// Call it on the schedule of your exporter. Cost: one registry look-up a reading.
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub fn publish_metrics(meter: &dyn Meter, instance: &'static str) {
    meter.read(&mut |reading| match reading.value {
        Value::Counter(count) => {
            metrics::counter!(reading.name, "instance" => instance).absolute(count)
        }
        Value::Gauge(level) => metrics::gauge!(reading.name, "instance" => instance).set(level),
    });
}

/// Emits a meter's readings as `tracing` events at debug level, one a reading, with the fields `instance`,
/// `name` and `value`.
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub fn publish_tracing(meter: &dyn Meter, instance: &str) {
    meter.read(&mut |reading| match reading.value {
        Value::Counter(count) => tracing::debug!(instance, name = reading.name, value = count),
        Value::Gauge(level) => tracing::debug!(instance, name = reading.name, value = level),
    });
}
