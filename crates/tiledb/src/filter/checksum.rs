//! The checksum filters, MD5 and SHA-256.
//!
//! ```text
//! metadata: u32 m │ u32 d │ (m + d) × { u64 length │ digest of 16 or 32 bytes }
//! ```
//!
//! The first `m` digests cover the metadata that follow, the other `d` the data; both pass on as they
//! are. Reading expects them to cover every byte.

use md5::Md5;
use sha2::{Digest, Sha256};

use super::Filter;
use super::metadata::Metadata;
use crate::bytes::Cursor;
use crate::error::{Error, ErrorKind, Result};

/// A digest, in the first bytes of the longest.
struct Sum {
    bytes: [u8; 32],
    length: usize,
}

impl Sum {
    fn of(filter: &Filter, input: &[u8]) -> Self {
        let mut sum = Self { bytes: [0; 32], length: digest_length(filter) };
        match filter {
            Filter::ChecksumMd5 => sum.bytes[..16].copy_from_slice(&Md5::digest(input)),
            _ => sum.bytes.copy_from_slice(&Sha256::digest(input)),
        }
        sum
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn digest_length(filter: &Filter) -> usize {
    if matches!(filter, Filter::ChecksumMd5) { 16 } else { 32 }
}

/// Checks `input` and the metadata behind the digests, which `metadata` is left at.
///
/// # Errors
/// [`Checksum`](ErrorKind::Checksum) with the expected and the found digest.
pub(super) fn verify(filter: &Filter, metadata: &mut Cursor<'_>, input: &[u8]) -> Result<()> {
    let entry = 8 + digest_length(filter);
    let in_metadata = metadata.u32("digests of metadata")? as usize;
    let in_data = metadata.u32("digests of data")? as usize;
    let metadata_sums = metadata.take(in_metadata.saturating_mul(entry), "digests of metadata")?;
    let data_sums = metadata.take(in_data.saturating_mul(entry), "digests of data")?;
    let mut rest = metadata.clone();
    let rest = rest.take(rest.remaining(), "metadata")?;
    verify_parts(filter, metadata_sums, rest, "metadata")?;
    verify_parts(filter, data_sums, input, "data")
}

fn verify_parts(filter: &Filter, sums: &[u8], input: &[u8], what: &str) -> Result<()> {
    let mut sums = Cursor::new(sums);
    let mut input = Cursor::new(input);
    while sums.remaining() > 0 {
        let at = input.position();
        let part = input.take(usize::try_from(sums.u64("length")?).unwrap_or(usize::MAX), what)?;
        let expected = sums.take(digest_length(filter), "digest")?;
        let found = Sum::of(filter, part);
        if expected != found.as_bytes() {
            return Err(Error::new(
                ErrorKind::Checksum,
                format!(
                    "{what} bytes {at} to {}: expected {}, found {}",
                    at + part.len(),
                    hex(expected),
                    hex(found.as_bytes()),
                ),
            ));
        }
    }
    match input.remaining() {
        0 => Ok(()),
        left => Err(Error::corrupt(format!("{left} bytes of {what} have no digest"))),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Appends the digests of the metadata so far and of `input` to `piece`.
pub(super) fn encode(filter: &Filter, metadata: &Metadata, input: &[u8], piece: &mut Vec<u8>) {
    let pieces = metadata.pieces();
    piece.extend_from_slice(&(pieces.len() as u32).to_le_bytes());
    piece.extend_from_slice(&1_u32.to_le_bytes());
    for part in pieces.chain([input]) {
        piece.extend_from_slice(&(part.len() as u64).to_le_bytes());
        piece.extend_from_slice(Sum::of(filter, part).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_have_the_stored_layout() {
        let mut metadata = Metadata::default();
        metadata.push(b"abc");
        let mut piece = Vec::new();
        encode(&Filter::ChecksumMd5, &metadata, b"", &mut piece);
        let stored: String = [
            "01000000",
            "01000000",
            "0300000000000000",
            "900150983cd24fb0d6963f7d28e17f72", // RFC 1321
            "0000000000000000",
            "d41d8cd98f00b204e9800998ecf8427e",
        ]
        .concat();
        assert_eq!(hex(&piece), stored);
        piece.extend_from_slice(b"abc");
        let mut cursor = Cursor::new(&piece);
        verify(&Filter::ChecksumMd5, &mut cursor, b"").unwrap();
        assert_eq!(cursor.remaining(), 3);
    }

    #[test]
    fn a_mismatch_names_both_digests() {
        let mut piece = Vec::new();
        encode(&Filter::ChecksumSha256, &Metadata::default(), b"abc", &mut piece);
        let error = verify(&Filter::ChecksumSha256, &mut Cursor::new(&piece), b"abd").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Checksum);
        let message = error.to_string();
        assert!(message.contains("expected ba7816bf8f01cfea414140de5dae2223"), "{message}");
        assert!(message.contains("found a52d159f262b2c6ddb724a61840befc3"), "{message}");
    }

    #[test]
    fn bytes_without_a_digest_are_corrupt() {
        let mut piece = Vec::new();
        encode(&Filter::ChecksumSha256, &Metadata::default(), b"abc", &mut piece);
        for (piece, input) in
            [(&piece[..], &b"abcd"[..]), (&[0; 8], b"abc"), (&piece[..20], b"abc")]
        {
            let error =
                verify(&Filter::ChecksumSha256, &mut Cursor::new(piece), input).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}
