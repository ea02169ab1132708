use purlin_core::{Meter, Reading};

/// How full a queue is, and what has happened since it was opened. A snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Jobs that a worker may have now.
    pub ready: usize,
    /// Jobs that wait for their time.
    pub delayed: usize,
    /// Jobs that a worker has.
    pub leased: usize,
    /// Dead letters.
    pub dead: usize,
    /// Bytes of payloads and keys of all these.
    pub bytes: usize,
    /// Keys of jobs that have left, still remembered.
    pub remembered_keys: usize,
    /// Jobs added.
    pub enqueued: u64,
    /// Enqueues answered with an earlier job of the same key.
    pub duplicates: u64,
    /// Enqueues refused because the queue was full or the job too large.
    pub refused: u64,
    /// Leases handed out.
    pub leases: u64,
    /// Leases extended.
    pub extended: u64,
    /// Jobs done.
    pub acked: u64,
    /// Attempts that workers reported as failed.
    pub nacked: u64,
    /// Attempts handed back uncounted.
    pub released: u64,
    /// Leases that ended without a word.
    pub ended: u64,
    /// Calls that came with a lost lease.
    pub lost: u64,
    /// Jobs that became dead letters.
    pub buried: u64,
    /// Dead letters put back to work.
    pub redriven: u64,
    /// Dead letters thrown away.
    pub discarded: u64,
}

impl Stats {
    /// Jobs in the queue, in whatever state.
    pub fn jobs(&self) -> usize {
        self.ready + self.delayed + self.leased + self.dead
    }
}

impl Meter for Stats {
    fn read(&self, each: &mut dyn FnMut(Reading)) {
        let gauges = [
            ("purlin_work_queue_ready_jobs", self.ready),
            ("purlin_work_queue_delayed_jobs", self.delayed),
            ("purlin_work_queue_leased_jobs", self.leased),
            ("purlin_work_queue_dead_jobs", self.dead),
            ("purlin_work_queue_size_bytes", self.bytes),
            ("purlin_work_queue_remembered_keys", self.remembered_keys),
        ];
        for (name, level) in gauges {
            each(Reading::gauge(name, level as f64));
        }
        let counters = [
            ("purlin_work_queue_enqueued_total", self.enqueued),
            ("purlin_work_queue_duplicates_total", self.duplicates),
            ("purlin_work_queue_refused_total", self.refused),
            ("purlin_work_queue_leases_total", self.leases),
            ("purlin_work_queue_extended_total", self.extended),
            ("purlin_work_queue_acked_total", self.acked),
            ("purlin_work_queue_nacked_total", self.nacked),
            ("purlin_work_queue_released_total", self.released),
            ("purlin_work_queue_ended_leases_total", self.ended),
            ("purlin_work_queue_lost_leases_total", self.lost),
            ("purlin_work_queue_buried_total", self.buried),
            ("purlin_work_queue_redriven_total", self.redriven),
            ("purlin_work_queue_discarded_total", self.discarded),
        ];
        for (name, count) in counters {
            each(Reading::counter(name, count));
        }
    }
}
