//! Numbers of bytes as people write them.

use crate::output::bytes;

/// A number of bytes, as `256MiB` or `10 GiB`, of which there have to be `least`.
pub fn at_least(least: u64, text: &str) -> Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let unit =
        units.iter().find_map(|&(unit, bits)| Some((text.strip_suffix(unit)?, 1u64 << bits)));
    let number: Option<u64> = unit.and_then(|(number, _)| number.trim_end().parse().ok());
    match number.and_then(|number| number.checked_mul(unit?.1)) {
        Some(size) if size >= least => Ok(size),
        Some(_) => Err(format!("expected at least {}", bytes(least))),
        None => Err("expected a number of KiB, MiB or GiB, as 512MiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_and_may_have_a_space() {
        assert_eq!(at_least(0, "10 GiB"), Ok(10 << 30));
        assert_eq!(at_least(1024, "1KiB"), Ok(1024));
        assert!(at_least(1025, "1KiB").unwrap_err().contains("at least"));
        for wrong in ["", "1", "GB", "1GB", "-1KiB", "0.5GiB"] {
            assert!(at_least(0, wrong).is_err(), "{wrong}");
        }
    }
}
