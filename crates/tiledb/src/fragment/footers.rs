//! The footers of many fragments in one file, `__fragment_meta/*.meta`.

use crate::bytes::{Cursor, put_lp64, put_u64s};
use crate::error::{Error, Result};
use crate::generic_tile;
use crate::schema::structure_filters;

/// The bytes of a file that holds the footers of fragments, each with the fragment's name.
///
/// libtiledb takes from it what it would otherwise read of each fragment when an array is opened. It is a generic tile of
///
/// ```text
/// u32 fragments | each: lp64 name | u64 where its footer starts, from here on
/// the footers, without the size that stands behind each in its own file
/// ```
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) for more fragments than a u32 can count.
pub fn joined_footers(fragments: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let count = u32::try_from(fragments.len())
        .map_err(|_| Error::invalid(format!("expected at most {} fragments", u32::MAX)))?;
    let mut payload = count.to_le_bytes().to_vec();
    let names: usize = fragments.iter().map(|(name, _)| 16 + name.len()).sum();
    let mut at = (payload.len() + names) as u64;
    for (name, footer) in fragments {
        put_lp64(&mut payload, name.as_bytes());
        put_u64s(&mut payload, &[at]);
        at += footer.len() as u64;
    }
    fragments.iter().for_each(|(_, footer)| payload.extend_from_slice(footer));
    generic_tile::write(&payload, &structure_filters())
}

/// The names and footers in such a file.
///
/// # Errors
/// [`Corrupt`](crate::ErrorKind::Corrupt) where it cannot be taken apart.
pub fn footers_of(file: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
    let (payload, _) = generic_tile::read(file, 0)?;
    let mut cursor = Cursor::new(&payload);
    let count = cursor.u32("number of footers")? as usize;
    // Each has a name and an offset, so that a wrong number ends with the file.
    let mut starts: Vec<(String, usize)> = Vec::new();
    for _ in 0..count {
        let name = cursor.lp64_str("fragment name")?.to_owned();
        let start = cursor.u64("footer offset")?;
        starts.push((name, usize::try_from(start).unwrap_or(usize::MAX)));
    }
    let ends = starts.iter().skip(1).map(|(_, start)| *start).chain([payload.len()]);
    let footers = starts.iter().zip(ends).map(|((name, start), end)| {
        let bytes = payload.get(*start..end).ok_or_else(|| {
            let found = payload.len();
            Error::corrupt(format!("footer: expected bytes {start} to {end}, found {found}"))
        })?;
        Ok((name.clone(), bytes.to_vec()))
    });
    footers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_footers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
        let footer = proptest::collection::vec(any::<u8>(), 0..30);
        proptest::collection::vec(("[a-z_0-9]{0,12}", footer), 0..6)
    }

    proptest! {
        #[test]
        fn round_trip(footers in any_footers()) {
            prop_assert_eq!(footers_of(&joined_footers(&footers).unwrap()).unwrap(), footers);
        }

        #[test]
        fn altered_or_cut_bytes_never_panic(
            footers in any_footers(), at in any::<prop::sample::Index>(), byte: u8, cut: bool,
        ) {
            let (mut payload, _) =
                generic_tile::read(&joined_footers(&footers).unwrap(), 0).unwrap();
            let at = at.index(payload.len());
            if cut { payload.truncate(at) } else { payload[at] = byte }
            let _ = footers_of(&generic_tile::write(&payload, &structure_filters()).unwrap());
        }
    }
}
