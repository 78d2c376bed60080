//! Runs the contract of stores below a URI, which has to be empty: `store_contract s3://bucket/prefix [CACHE]`, with a folder
//! by way of a cache there.
//!
//! The tests in Python run it on a real server; `cargo test` alone has none.

#[path = "../tests/contract/suite.rs"]
mod suite;

use vacuole_store::cache::CacheOptions;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let uri = std::env::args().nth(1).ok_or("expected a URI, as s3://bucket/prefix")?;
    let cache = std::env::args().nth(2).map(|folder| CacheOptions {
        folder: folder.into(),
        size: 1 << 30,
        warn: std::sync::Arc::new(|text| println!("{text}")),
    });
    vacuole_store::cache::configure(cache);
    let store = vacuole_store::open_by_cache(&vacuole_store::Uri::parse(&uri)?)?;
    for (number, (name, check)) in suite::CHECKS.into_iter().enumerate() {
        println!("{name}");
        check(&*store, &format!("check{number}"));
    }
    store.remove_folder("")?;
    println!("{} checks", suite::CHECKS.len());
    Ok(())
}
