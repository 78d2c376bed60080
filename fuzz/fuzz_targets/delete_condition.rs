//! Delete conditions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vacuole_tiledb::Condition;

fuzz_target!(|data: &[u8]| {
    vacuole_fuzz::both(data, |bytes| {
        if let Ok(condition) = Condition::read(bytes) {
            walk(&condition);
        }
    });
});

fn walk(condition: &Condition) {
    match condition {
        Condition::Compare { value, offsets, .. } => {
            assert_eq!(Condition::set_values(value, offsets).count(), offsets.len());
        }
        Condition::And(children) | Condition::Or(children) => children.iter().for_each(walk),
        Condition::Not(child) => walk(child),
    }
}
