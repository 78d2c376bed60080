//! The contract of stores, kept by a folder on disk. `examples/store_contract.rs` runs it on a bucket.

mod suite;

use vacuole_store::{LocalStore, Store};

#[test]
fn a_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path().join("root"));
    for (number, (name, check)) in suite::CHECKS.into_iter().enumerate() {
        println!("{name}");
        check(&store, &format!("check{number}"));
    }
    let left = store.list("__vacuole/tmp").unwrap();
    assert!(left.is_empty(), "temporary files: {left:?}");
}
