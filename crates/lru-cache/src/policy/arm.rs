/// How a set decides: parameters of one mechanism.
///
/// Entries begin in the window. When a set is full, the window gives up its oldest entry if it has more than its
/// share, and main gives up one otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arm {
    /// The window's share of the set, in 256ths. At least one slot.
    pub(crate) window: u16,
    /// What becomes of the entry that the window gives up.
    pub(crate) admission: Admission,
    /// Hits an entry needs in the window to be admitted, for [`Admission::Hits`].
    pub(crate) threshold: u8,
    /// Whether an entry that left lately comes back to main.
    pub(crate) ghosts: bool,
    /// Whether a hit in the window makes an entry its newest.
    pub(crate) window_by_use: bool,
    /// Whether a hit in main makes an entry its newest. Otherwise main is a CLOCK: its oldest goes round again
    /// for each hit it had.
    pub(crate) main_by_use: bool,
}

/// Who gets from the window into main.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Nobody.
    None,
    /// Who was hit often enough, as in S3-FIFO ("FIFO queues are all you need for cache eviction", 2023).
    Hits,
    /// Who was asked for more often than the entry that main would lose for it, as in TinyLFU ("TinyLFU: A Highly
    /// Efficient Cache Admission Policy", 2017).
    Frequency,
    /// Who was used again sooner than main's oldest, as in LIRS ("LIRS: an efficient low inter-reference recency
    /// set replacement policy", 2002).
    Reuse,
}

impl Arm {
    /// Least recently used.
    pub(crate) const LRU: Arm = Arm {
        window: 256,
        admission: Admission::None,
        threshold: 0,
        ghosts: false,
        window_by_use: true,
        main_by_use: true,
    };
    /// First in, first out.
    pub(crate) const FIFO: Arm = Arm {
        window_by_use: false,
        main_by_use: false,
        ..Arm::LRU
    };
    /// S3-FIFO.
    pub(crate) const S3: Arm = Arm {
        window: 26,
        admission: Admission::Hits,
        threshold: 1,
        ghosts: true,
        window_by_use: false,
        main_by_use: false,
    };
    /// TinyLFU: a window of 2 % before a CLOCK.
    pub(crate) const TINY_LFU: Arm = Arm {
        window: 5,
        admission: Admission::Frequency,
        ghosts: false,
        ..Arm::S3
    };

    /// What the adaptive policy chooses among. Chosen so that each is the best, or nearly, on loads where the
    /// others are far behind: recency, frequency, loops longer than the cache, and mixes of them. The windows of S3-FIFO
    /// are a fiftieth, a tenth and a fifth of a set: the less of what comes is asked for again, the less of it should be
    /// let in.
    pub(crate) const CHOICES: [Arm; 7] = [
        Arm::LRU,
        Arm::S3,
        Arm {
            threshold: 2,
            ..Arm::S3
        },
        Arm {
            window: 5,
            ..Arm::S3
        },
        Arm {
            window: 51,
            ..Arm::S3
        },
        Arm {
            window: 51,
            ..Arm::TINY_LFU
        },
        Arm {
            window: 5,
            admission: Admission::Reuse,
            threshold: 0,
            ghosts: true,
            window_by_use: true,
            main_by_use: true,
        },
    ];
    /// Where [`CHOICES`](Self::CHOICES) has least recently used, and S3-FIFO, with which the choice begins.
    pub(crate) const LRU_IDX: usize = 0;
    pub(crate) const FIRST_IDX: usize = 1;

    /// Whether a hit may put an entry in another place.
    #[inline]
    pub(crate) const fn heeds_order_of_use(&self) -> bool {
        self.window_by_use || self.main_by_use
    }
}
