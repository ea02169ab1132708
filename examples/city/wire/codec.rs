//! The frames' bytes. Decoders take nothing but a whole frame, and only one that an encoder could have made.

use bytes::{Buf, BufMut, BytesMut};
use purlin_shard_router::Route;

use super::{MAX_RECORDS, Need, Progress, Reply, Request, Stamp};
use crate::row::{Change, Key, Outcome, Record, Row};

pub(super) fn encode_request(request: &Request, out: &mut BytesMut) {
    match *request {
        Request::Read { route, key, need } => {
            out.put_u8(1);
            out.put_slice(&route.to_bytes());
            out.put_slice(key.as_bytes());
            let (kind, bound) = match need {
                Need::Nothing => (0, 0),
                Need::Position(position) => (1, position),
                Need::FreshAt(tick) => (2, tick),
            };
            out.put_u8(kind);
            out.put_u64_le(bound);
        }
        Request::Change { route, change } => {
            out.put_u8(2);
            out.put_slice(&route.to_bytes());
            put_change(change, out);
        }
        Request::Pull { after } => {
            out.put_u8(3);
            out.put_u64_le(after);
        }
        Request::Status => out.put_u8(4),
    }
}

pub(super) fn decode_request(frame: &mut BytesMut) -> Option<Request> {
    let request = match frame.try_get_u8().ok()? {
        1 => Request::Read {
            route: get_route(frame)?,
            key: get_key(frame)?,
            need: match (frame.try_get_u8().ok()?, frame.try_get_u64_le().ok()?) {
                (0, _) => Need::Nothing,
                (1, position) => Need::Position(position),
                (2, tick) => Need::FreshAt(tick),
                _ => return None,
            },
        },
        2 => Request::Change {
            route: get_route(frame)?,
            change: get_change(frame)?,
        },
        3 => Request::Pull {
            after: frame.try_get_u64_le().ok()?,
        },
        4 => Request::Status,
        _ => return None,
    };
    frame.is_empty().then_some(request)
}

pub(super) fn encode_reply(reply: &Reply, out: &mut BytesMut) {
    match reply {
        Reply::Row {
            row,
            from,
            progress,
        } => {
            out.put_u8(1);
            put_row(*row, out);
            put_stamp(*from, out);
            put_progress(*progress, out);
        }
        Reply::Changed { outcome, from } => {
            out.put_u8(2);
            put_row(outcome.row, out);
            out.put_u8(outcome.repeated.into());
            put_stamp(*from, out);
        }
        Reply::Behind(progress) => {
            out.put_u8(3);
            put_progress(*progress, out);
        }
        Reply::WrongRoute => out.put_u8(4),
        Reply::Records { records, progress } => {
            out.put_u8(5);
            put_progress(*progress, out);
            out.put_u32_le(records.len() as u32);
            for record in records {
                out.put_u64_le(record.tick);
                put_change(record.change, out);
                put_row(record.row, out);
            }
        }
        Reply::Status(progress) => {
            out.put_u8(6);
            put_progress(*progress, out);
        }
        Reply::Failed => out.put_u8(7),
    }
}

pub(super) fn decode_reply(frame: &mut BytesMut) -> Option<Reply> {
    let reply = match frame.try_get_u8().ok()? {
        1 => Reply::Row {
            row: get_row(frame)?,
            from: get_stamp(frame)?,
            progress: get_progress(frame)?,
        },
        2 => Reply::Changed {
            outcome: Outcome {
                row: get_row(frame)?,
                repeated: get_flag(frame)?,
            },
            from: get_stamp(frame)?,
        },
        3 => Reply::Behind(get_progress(frame)?),
        4 => Reply::WrongRoute,
        5 => Reply::Records {
            progress: get_progress(frame)?,
            records: get_records(frame)?,
        },
        6 => Reply::Status(get_progress(frame)?),
        7 => Reply::Failed,
        _ => return None,
    };
    frame.is_empty().then_some(reply)
}

fn get_records(frame: &mut BytesMut) -> Option<Vec<Record>> {
    let count = frame.try_get_u32_le().ok()? as usize;
    if count > MAX_RECORDS {
        return None;
    }
    (0..count)
        .map(|_| {
            Some(Record {
                tick: frame.try_get_u64_le().ok()?,
                change: get_change(frame)?,
                row: get_row(frame)?,
            })
        })
        .collect()
}

fn get_route(frame: &mut BytesMut) -> Option<Route> {
    let mut bytes = [0; Route::ENCODED_LEN];
    frame.try_copy_to_slice(&mut bytes).ok()?;
    Some(Route::from_bytes(bytes))
}

fn get_key(frame: &mut BytesMut) -> Option<Key> {
    let mut bytes = [0; Key::LEN];
    frame.try_copy_to_slice(&mut bytes).ok()?;
    Some(Key::from_bytes(bytes))
}

fn put_change(change: Change, out: &mut BytesMut) {
    out.put_slice(change.key.as_bytes());
    out.put_u64_le(change.cause);
    out.put_u8(change.once.into());
}

fn get_change(frame: &mut BytesMut) -> Option<Change> {
    Some(Change {
        key: get_key(frame)?,
        cause: frame.try_get_u64_le().ok()?,
        once: get_flag(frame)?,
    })
}

fn get_flag(frame: &mut BytesMut) -> Option<bool> {
    match frame.try_get_u8().ok()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn put_row(row: Row, out: &mut BytesMut) {
    out.put_u64_le(row.value);
    out.put_u64_le(row.version);
}

fn get_row(frame: &mut BytesMut) -> Option<Row> {
    Some(Row {
        value: frame.try_get_u64_le().ok()?,
        version: frame.try_get_u64_le().ok()?,
    })
}

fn put_stamp(stamp: Stamp, out: &mut BytesMut) {
    out.put_u32_le(stamp.shard);
    out.put_u32_le(stamp.copy);
}

fn get_stamp(frame: &mut BytesMut) -> Option<Stamp> {
    Some(Stamp {
        shard: frame.try_get_u32_le().ok()?,
        copy: frame.try_get_u32_le().ok()?,
    })
}

fn put_progress(progress: Progress, out: &mut BytesMut) {
    out.put_u64_le(progress.position);
    out.put_u64_le(progress.fresh_at);
}

fn get_progress(frame: &mut BytesMut) -> Option<Progress> {
    Some(Progress {
        position: frame.try_get_u64_le().ok()?,
        fresh_at: frame.try_get_u64_le().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use purlin_shard_router::{MapVersion, ShardId, Slot};

    use super::*;

    const ROUTE: Route = Route::new(ShardId(2), Slot(9), MapVersion(3));
    const CHANGE: Change = Change {
        key: Key::product(9),
        cause: 77,
        once: true,
    };
    const ROW: Row = Row {
        value: 5,
        version: 6,
    };
    const STAMP: Stamp = Stamp { shard: 1, copy: 2 };
    const PROGRESS: Progress = Progress {
        position: 8,
        fresh_at: u64::MAX,
    };

    fn requests() -> Vec<Request> {
        let read = |need| Request::Read {
            route: ROUTE,
            key: Key::user(7),
            need,
        };
        vec![
            read(Need::Nothing),
            read(Need::Position(u64::MAX)),
            read(Need::FreshAt(1)),
            Request::Change {
                route: ROUTE,
                change: CHANGE,
            },
            Request::Pull { after: 12 },
            Request::Status,
        ]
    }

    fn replies() -> Vec<Reply> {
        let record = Record {
            tick: 4,
            change: CHANGE,
            row: ROW,
        };
        vec![
            Reply::Row {
                row: ROW,
                from: STAMP,
                progress: PROGRESS,
            },
            Reply::Changed {
                outcome: Outcome {
                    row: ROW,
                    repeated: true,
                },
                from: STAMP,
            },
            Reply::Behind(PROGRESS),
            Reply::WrongRoute,
            Reply::Records {
                records: vec![record; 3],
                progress: PROGRESS,
            },
            Reply::Status(PROGRESS),
            Reply::Failed,
        ]
    }

    /// Every frame comes back as it was, and no cut of it is taken for another.
    fn check<T: PartialEq + std::fmt::Debug>(
        value: T,
        encode: fn(&T, &mut BytesMut),
        decode: fn(&mut BytesMut) -> Option<T>,
    ) {
        let mut bytes = BytesMut::new();
        encode(&value, &mut bytes);
        for len in 0..bytes.len() {
            assert_eq!(
                decode(&mut BytesMut::from(&bytes[..len])),
                None,
                "{value:?}"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(decode(&mut BytesMut::from(&longer[..])), None, "{value:?}");
        assert_eq!(decode(&mut bytes), Some(value));
    }

    #[test]
    fn frames_come_back_whole_or_not_at_all() {
        for request in requests() {
            check(request, encode_request, decode_request);
        }
        for reply in replies() {
            check(reply, encode_reply, decode_reply);
        }
    }
}
