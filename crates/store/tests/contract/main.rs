//! The contract of stores, kept by a folder on disk and by memory. `examples/store_contract.rs` runs it on buckets.

mod suite;

use vacuole_store::{LocalStore, MemoryStore, Store};

#[test]
fn a_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path().join("root"));
    check(&store);
    let left = store.list("__vacuole/tmp").unwrap();
    assert!(left.is_empty(), "temporary files: {left:?}");
}

#[test]
fn memory_keeps_the_contract() {
    let store = MemoryStore::new();
    check(&store);
    store.remove_folder("").unwrap();
    assert!(store.list("").unwrap().is_empty());
}

fn check(store: &dyn Store) {
    for (number, (name, check)) in suite::CHECKS.into_iter().enumerate() {
        println!("{name}");
        check(store, &format!("check{number}"));
    }
}
