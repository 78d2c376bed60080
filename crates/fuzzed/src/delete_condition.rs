//! Delete conditions.

use vacuole_tiledb::Condition;

/// One input.
pub fn run(data: &[u8]) {
    crate::both(data, |bytes| {
        if let Ok(condition) = Condition::read(bytes) {
            walk(&condition);
            // A fault here is one of ours, and what a fuzzer looks for.
            let written = condition.write().expect("what was read can be written");
            assert_eq!(Condition::read(&written).as_ref(), Ok(&condition));
        }
    });
}

fn walk(condition: &Condition) {
    match condition {
        Condition::Compare { value, offsets, .. } => {
            assert_eq!(Condition::set_values(value, offsets).count(), offsets.len());
        }
        Condition::And(children) | Condition::Or(children) => children.iter().for_each(walk),
        Condition::Not(child) => walk(child),
    }
}
