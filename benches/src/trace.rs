//! Access traces: who asked for what, in which order, as a list of bare ids.
//!
//! The compact form is a stream of little-endian `u32` ids, one a request, usually compressed with zstd. Sizes,
//! times and kinds of operation are not in it; `city::replay` says what the city makes of an id.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use ruzstd::decoding::StreamingDecoder;

/// Requests a trace may have: the length of the longest published one we know of in this form, sixteen times
/// over. They are held in memory, 4 bytes each, so that a broken file is found before the run and not in it.
pub const MAX_REQUESTS: usize = 1 << 26;

/// The first bytes of a zstd frame (RFC 8878, 3.1.1), by which the compressed form is recognised. As a raw id
/// they would be 4 247 762 216, and ids are counted up from 0.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Reads a whole trace, compressed or raw.
///
/// # Errors
///
/// If the file cannot be read, is cut off, is not a trace, is empty, or is longer than [`MAX_REQUESTS`].
pub fn read(path: &Path) -> Result<Vec<u32>, TraceError> {
    let fail = |why| TraceError {
        path: path.to_owned(),
        why,
    };
    let bytes = read_bytes(path).map_err(fail)?;
    let (ids, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(fail(Why::PartId));
    }
    if ids.is_empty() {
        return Err(fail(Why::Empty));
    }
    Ok(ids.iter().map(|id| u32::from_le_bytes(*id)).collect())
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Why> {
    let mut file = BufReader::new(File::open(path).map_err(Why::Unreadable)?);
    let mut start = Vec::with_capacity(4);
    file.by_ref()
        .take(4)
        .read_to_end(&mut start)
        .map_err(Why::Unreadable)?;
    let compressed = start == ZSTD_MAGIC;
    let mut whole = io::Cursor::new(start).chain(file);
    if !compressed {
        return read_bounded(whole, Why::Unreadable);
    }
    let mut bytes = Vec::new();
    // A zstd stream is one frame or several; each is checked against its own checksum, if it has one.
    while has_more(&mut whole)? {
        let frame = StreamingDecoder::new(&mut whole).map_err(|_| Why::Broken)?;
        bytes.append(&mut read_bounded(frame, |_| Why::Broken)?);
        if bytes.len() > MAX_REQUESTS * 4 {
            return Err(Why::TooLong);
        }
    }
    Ok(bytes)
}

fn read_bounded(source: impl Read, why: impl FnOnce(io::Error) -> Why) -> Result<Vec<u8>, Why> {
    let mut bytes = Vec::new();
    let limit = MAX_REQUESTS as u64 * 4;
    source
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(why)?;
    if bytes.len() as u64 > limit {
        return Err(Why::TooLong);
    }
    Ok(bytes)
}

/// Whether anything is left to read.
fn has_more(source: &mut impl io::BufRead) -> Result<bool, Why> {
    let buffered = source.fill_buf().map_err(Why::Unreadable)?;
    Ok(!buffered.is_empty())
}

/// Why a trace could not be read. Its text is one line that names the file.
#[derive(Debug, thiserror::Error)]
#[error("trace {}: {why}", path.display())]
pub struct TraceError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("{0}")]
    Unreadable(io::Error),
    #[error("the zstd stream is cut off or damaged")]
    Broken,
    #[error("cut off: its length is not a whole number of 4-byte ids")]
    PartId,
    #[error("there is no request in it")]
    Empty,
    #[error("more than {MAX_REQUESTS} requests")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn raw(ids: impl IntoIterator<Item = u32>) -> Vec<u8> {
        ids.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn raw_and_compressed_traces_are_the_same_ids() {
        let ids: Vec<u32> = (0..3_000).map(|i| i % 700).collect();
        let raw = raw(ids.iter().copied());
        let packed = compress_to_vec(&raw[..], CompressionLevel::Fastest);
        assert_eq!(read(file(&raw).path()).unwrap(), ids);
        assert_eq!(read(file(&packed).path()).unwrap(), ids);
        let twice = [packed.clone(), packed].concat();
        assert_eq!(read(file(&twice).path()).unwrap(), ids.repeat(2));
    }

    #[test]
    fn every_cut_of_a_compressed_trace_is_refused() {
        let packed = compress_to_vec(&raw(0..500)[..], CompressionLevel::Fastest);
        for len in 0..packed.len() {
            assert!(read(file(&packed[..len]).path()).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_raw_trace_that_ends_inside_an_id_is_refused() {
        let error = read(file(&raw(0..9)[..34]).path()).unwrap_err();
        assert!(error.to_string().contains("cut off"), "{error}");
    }

    #[test]
    fn a_missing_or_empty_file_is_refused_in_one_line() {
        let missing = read(Path::new("no/such/trace.u32.zst")).unwrap_err();
        let empty = read(file(&[]).path()).unwrap_err();
        for error in [missing.to_string(), empty.to_string()] {
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
