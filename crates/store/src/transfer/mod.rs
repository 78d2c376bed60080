//! Files to objects and back: in parts side by side, with checksums, and going on where an interrupted run was.
//!
//! What an unfinished transfer goes on with is noted in `vacuole/transfers/` of the user's cache folder
//! (`XDG_CACHE_HOME`, by default `~/.cache`).

mod behind;
mod bucket;
mod check;
mod download;
mod location;
mod locked;
mod metadata;
mod names;
mod upload;

use std::fmt::Debug;

pub use bucket::{Pages, S3Bucket};
pub use check::Verified;
pub use download::{Download, Downloaded};
pub use location::Location;
pub use metadata::{HELIUM, METADATA_LIMIT, helium_of, with_user_meta};
pub use names::files_of_keys;
pub use upload::{Upload, UploadOptions, Uploaded};

/// The least size that is sent in parts, and the size of parts up to 80 GB.
pub(crate) const PART: u64 = 8 << 20;

/// The most parts that an object has.
pub(crate) const MOST_PARTS: u64 = 10_000;

/// The size of the parts of an object: 8 MiB, doubled until there are no more than 10,000.
pub fn part_size(size: u64) -> u64 {
    let mut part = PART;
    while size.div_ceil(part) > MOST_PARTS {
        part *= 2;
    }
    part
}

/// Is told how far transfers are, from several threads.
pub trait Progress: Debug + Send + Sync {
    /// So many bytes more are there.
    fn bytes(&self, count: u64);

    /// So many objects more are complete.
    fn objects(&self, count: u64);
}

/// Nobody wants to know.
impl Progress for () {
    fn bytes(&self, _: u64) {}

    fn objects(&self, _: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_double_where_there_would_be_too_many() {
        assert_eq!(part_size(0), 8 << 20);
        assert_eq!(part_size(83_886_080_000), 8 << 20);
        assert_eq!(part_size(83_886_080_001), 16 << 20);
        assert_eq!(part_size(5 << 40), 1 << 30);
    }
}
