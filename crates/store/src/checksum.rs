//! The checksums that S3 keeps of objects.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest};
use md5::{Digest as _, Md5};
use ring::digest;

/// A checksum by the name that S3 has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// CRC-64/NVME: that of parts gives that of the whole. The default of S3.
    Crc64Nvme,
    /// CRC-32/ISO-HDLC, as zlib has it.
    Crc32,
    /// CRC-32/ISCSI.
    Crc32C,
    /// SHA-256.
    Sha256,
    /// SHA-1.
    Sha1,
    /// MD5, which an ETag may be.
    Md5,
}

/// All that S3 may say of an object, those that are quickest to compute first.
pub(crate) const STORED: [Algorithm; 5] =
    [Algorithm::Crc64Nvme, Algorithm::Crc32C, Algorithm::Crc32, Algorithm::Sha256, Algorithm::Sha1];

impl Algorithm {
    /// The name, as in `x-amz-checksum-algorithm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "CRC64NVME",
            Self::Crc32 => "CRC32",
            Self::Crc32C => "CRC32C",
            Self::Sha256 => "SHA256",
            Self::Sha1 => "SHA1",
            Self::Md5 => "MD5",
        }
    }

    /// The header of requests and answers.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32C => "x-amz-checksum-crc32c",
            Self::Sha256 => "x-amz-checksum-sha256",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Md5 => "content-md5",
        }
    }

    /// The element of XML.
    pub(crate) fn element(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "ChecksumCRC64NVME",
            Self::Crc32 => "ChecksumCRC32",
            Self::Crc32C => "ChecksumCRC32C",
            Self::Sha256 => "ChecksumSHA256",
            Self::Sha1 => "ChecksumSHA1",
            Self::Md5 => "ContentMD5",
        }
    }

    fn crc(self) -> Option<(CrcAlgorithm, usize)> {
        match self {
            Self::Crc64Nvme => Some((CrcAlgorithm::Crc64Nvme, 8)),
            Self::Crc32 => Some((CrcAlgorithm::Crc32IsoHdlc, 4)),
            Self::Crc32C => Some((CrcAlgorithm::Crc32Iscsi, 4)),
            Self::Sha256 | Self::Sha1 | Self::Md5 => None,
        }
    }

    /// Whether a text is as long as the checksum of some bytes is.
    pub(crate) fn is_text(self, text: &str) -> bool {
        let length = match self {
            Self::Crc64Nvme => 8,
            Self::Crc32 | Self::Crc32C => 4,
            Self::Sha256 => 32,
            Self::Sha1 => 20,
            Self::Md5 => 16,
        };
        STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == length)
    }

    /// Whether the checksum of the whole follows from those of its parts.
    pub(crate) fn combines(self) -> bool {
        self.crc().is_some()
    }
}

/// A checksum that is being computed.
#[derive(Clone)]
pub(crate) enum Hasher {
    Crc(Box<Digest>, usize),
    Ring(Box<digest::Context>),
    Md5(Box<Md5>),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match (algorithm, algorithm.crc()) {
            (_, Some((crc, width))) => Self::Crc(Box::new(Digest::new(crc)), width),
            (Algorithm::Sha1, None) => {
                Self::Ring(Box::new(digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY)))
            }
            (Algorithm::Md5, None) => Self::Md5(Box::new(Md5::new())),
            (_, None) => Self::Ring(Box::new(digest::Context::new(&digest::SHA256))),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(crc, _) => crc.update(bytes),
            Self::Ring(context) => context.update(bytes),
            Self::Md5(md5) => md5.update(bytes),
        }
    }

    /// The bytes of the checksum, the highest first.
    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc(crc, width) => big_endian(crc.finalize(), width),
            Self::Ring(context) => context.finish().as_ref().to_vec(),
            Self::Md5(md5) => md5.finalize().to_vec(),
        }
    }
}

fn big_endian(value: u64, width: usize) -> Vec<u8> {
    value.to_be_bytes().get(8 - width..).unwrap_or_default().to_vec()
}

/// The checksum of some bytes.
pub(crate) fn of(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// The checksum of the whole, given those of consecutive pieces with their lengths; `None` where it does not follow.
pub(crate) fn combined(algorithm: Algorithm, pieces: &[(Vec<u8>, u64)]) -> Option<Vec<u8>> {
    let (crc, width) = algorithm.crc()?;
    let number = |bytes: &Vec<u8>| bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let whole = match pieces.split_first() {
        None => return Some(of(algorithm, &[])),
        Some(((first, _), others)) => others.iter().fold(number(first), |sum, (piece, length)| {
            crc_fast::checksum_combine(crc, sum, number(piece), *length)
        }),
    };
    Some(big_endian(whole, width))
}

/// The checksum of the checksums of parts, as S3 writes it: with their number.
pub(crate) fn composite<'a>(
    algorithm: Algorithm,
    parts: impl ExactSizeIterator<Item = &'a [u8]>,
) -> String {
    let count = parts.len();
    let mut hasher = Hasher::new(algorithm);
    parts.for_each(|part| hasher.update(part));
    format!("{}-{count}", text(&hasher.finish()))
}

/// A checksum as S3 writes it.
pub(crate) fn text(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// An MD5 as ETags have it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        let of = |algorithm| hex(&of(algorithm, b"123456789"));
        assert_eq!(of(Algorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(of(Algorithm::Crc32), "cbf43926");
        assert_eq!(of(Algorithm::Crc32C), "e3069283");
        assert_eq!(of(Algorithm::Md5), "25f9e794323b453885f5181f1b624d0b");
        assert_eq!(of(Algorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        let empty = text(&super::of(Algorithm::Sha256, b""));
        assert_eq!(empty, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn that_of_parts_has_their_number() {
        let parts = [of(Algorithm::Sha256, b"a"), of(Algorithm::Sha256, b"b")];
        let found = composite(Algorithm::Sha256, parts.iter().map(Vec::as_slice));
        let expected = of(Algorithm::Sha256, &parts.concat());
        assert_eq!(found, format!("{}-2", text(&expected)));
    }

    proptest! {
        #[test]
        fn pieces_give_the_whole(bytes in proptest::collection::vec(any::<u8>(), 0..500), cut in 0usize..500) {
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            for algorithm in STORED {
                let pieces = [(of(algorithm, a), a.len() as u64), (of(algorithm, b), b.len() as u64)];
                let whole = algorithm.combines().then(|| of(algorithm, &bytes));
                prop_assert_eq!(combined(algorithm, &pieces), whole);
            }
        }
    }
}
