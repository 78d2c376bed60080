//! How the bytes of an object can be checked, by what the bucket says of it.

use crate::checksum::{self, Algorithm};
use crate::error::{Error, ErrorKind, Result};
use crate::s3::ObjectInfo;

/// What the bytes that were read have been compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verified {
    /// A checksum that the bucket keeps.
    Checksum(Algorithm),
    /// The ETag, which is the MD5 of an object that was put in one piece.
    ETag,
    /// Nothing: the bucket has no checksum of the whole object.
    No,
}

/// The check of a whole object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// By a checksum of the whole, which follows from those of any pieces.
    Combined(Algorithm, String),
    /// By a checksum of the checksums of parts of a size.
    Parts(Algorithm, String, u64),
    /// By a checksum that takes all bytes in their order.
    InOrder(Algorithm, String),
    /// There is none.
    None,
}

impl Check {
    /// The quickest check of an object; that of parts needs to know the size of the first, and their number.
    pub(super) fn of(info: &ObjectInfo, parts: Option<(u64, u32)>) -> Self {
        let is_composite = info.checksum_type.as_deref() == Some("COMPOSITE");
        let in_parts = info.e_tag.as_deref().is_some_and(|tag| tag.contains('-'));
        // Some servers leave the number of parts out, or put another checksum in the place of CRC64NVME.
        let whole = |(algorithm, text): &&(Algorithm, String)| {
            algorithm.is_text(text) && !is_composite && (algorithm.combines() || !in_parts)
        };
        if let Some((algorithm, text)) = info.checksums.iter().find(whole) {
            return match algorithm.combines() {
                true => Self::Combined(*algorithm, text.clone()),
                false => Self::InOrder(*algorithm, text.clone()),
            };
        }
        if let (Some((algorithm, text)), Some((size, count))) = (info.checksums.first(), parts)
            && size > 0
            && info.size.div_ceil(size) == u64::from(count)
            && text.rsplit_once('-').is_some_and(|(_, said)| said == count.to_string())
        {
            return Self::Parts(*algorithm, text.clone(), size);
        }
        match &info.e_tag {
            Some(tag) if is_md5(tag) && !hides_md5(info) => {
                Self::InOrder(Algorithm::Md5, tag.to_ascii_lowercase())
            }
            _ => Self::None,
        }
    }

    /// Whether the size of the parts would make a check possible.
    pub(super) fn needs_parts(info: &ObjectInfo) -> bool {
        !info.checksums.is_empty() && matches!(Self::of(info, None), Self::None)
    }

    /// What it is, for people and programs.
    pub(super) fn verified(&self) -> Verified {
        match self {
            Self::InOrder(Algorithm::Md5, _) => Verified::ETag,
            Self::Combined(algorithm, _)
            | Self::Parts(algorithm, ..)
            | Self::InOrder(algorithm, _) => Verified::Checksum(*algorithm),
            Self::None => Verified::No,
        }
    }

    /// Compares with what the bytes have.
    pub(super) fn compare(&self, object: &str, found: &str) -> Result<()> {
        let (name, expected) = match self {
            Self::Combined(algorithm, text)
            | Self::Parts(algorithm, text, _)
            | Self::InOrder(algorithm, text) => (algorithm.name(), text),
            Self::None => return Ok(()),
        };
        if found == expected {
            return Ok(());
        }
        let message = format!(
            "expected {name} {expected}, as the bucket says, found {found} in the bytes that came; fetch it again, or another version of it"
        );
        Err(Error::new(ErrorKind::Corrupt, object, message))
    }

    /// Checks an object that is in memory.
    pub(super) fn check(&self, object: &str, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Combined(algorithm, _) | Self::InOrder(algorithm, _) => {
                self.compare(object, &written(*algorithm, &checksum::of(*algorithm, bytes)))
            }
            Self::Parts(algorithm, _, size) => {
                let size = usize::try_from(*size).unwrap_or(usize::MAX).max(1);
                let sums: Vec<_> =
                    bytes.chunks(size).map(|part| checksum::of(*algorithm, part)).collect();
                let found = checksum::composite(*algorithm, sums.iter().map(Vec::as_slice));
                self.compare(object, &found)
            }
            Self::None => Ok(()),
        }
    }
}

/// A checksum as the bucket would write it.
pub(super) fn written(algorithm: Algorithm, sum: &[u8]) -> String {
    match algorithm {
        Algorithm::Md5 => checksum::hex(sum),
        _ => checksum::text(sum),
    }
}

fn is_md5(tag: &str) -> bool {
    tag.len() == 32 && tag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Encrypted with a key of one's own, the ETag is of what is stored.
fn hides_md5(info: &ObjectInfo) -> bool {
    info.encryption.as_deref().is_some_and(|kind| kind != "AES256")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(checksums: &[(Algorithm, &str)], e_tag: &str) -> ObjectInfo {
        let checksums = checksums.iter().map(|(a, text)| (*a, (*text).to_owned())).collect();
        ObjectInfo { checksums, e_tag: Some(e_tag.to_owned()), size: 10, ..Default::default() }
    }

    #[test]
    fn the_best_check_there_is() {
        let md5 = "25f9e794323b453885f5181f1b624d0b";
        let sum = checksum::text(&checksum::of(Algorithm::Crc64Nvme, b"x"));
        let crc = info(&[(Algorithm::Crc64Nvme, &sum)], md5);
        assert!(matches!(Check::of(&crc, None), Check::Combined(Algorithm::Crc64Nvme, _)));
        let parts = info(&[(Algorithm::Sha256, "x=-2")], "abc-2");
        assert!(Check::needs_parts(&parts));
        assert_eq!(
            Check::of(&parts, Some((8, 2))).verified(),
            Verified::Checksum(Algorithm::Sha256)
        );
        assert_eq!(Check::of(&parts, Some((4, 2))), Check::None);
        assert_eq!(Check::of(&parts, None), Check::None);
        let mut plain = info(&[], md5);
        assert_eq!(Check::of(&plain, None).verified(), Verified::ETag);
        plain.encryption = Some("aws:kms".to_owned());
        assert_eq!(Check::of(&plain, None).verified(), Verified::No);
        assert_eq!(Check::of(&info(&[], "abc-2"), None), Check::None);
        let short = checksum::text(&checksum::of(Algorithm::Crc32, b"x"));
        assert_eq!(Check::of(&info(&[(Algorithm::Crc64Nvme, &short)], "abc-2"), None), Check::None);
        let sha = checksum::text(&checksum::of(Algorithm::Sha256, b"x"));
        assert_eq!(Check::of(&info(&[(Algorithm::Sha256, &sha)], "abc-2"), None), Check::None);
        assert!(matches!(
            Check::of(&info(&[(Algorithm::Sha256, &sha)], md5), None),
            Check::InOrder(Algorithm::Sha256, _)
        ));
    }

    #[test]
    fn altered_bytes_are_refused() {
        let bytes = b"123456789";
        let sum = checksum::text(&checksum::of(Algorithm::Crc64Nvme, bytes));
        let check = Check::Combined(Algorithm::Crc64Nvme, sum);
        check.check("s3://b/k", bytes).unwrap();
        assert_eq!(check.check("s3://b/k", b"123456780").unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
