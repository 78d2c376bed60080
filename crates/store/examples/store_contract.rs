//! Runs the contract of stores below a URI, which has to be empty: `store_contract s3://bucket/prefix`.
//!
//! The tests in Python run it on a real server; `cargo test` alone has none.

#[path = "../tests/contract/suite.rs"]
mod suite;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let uri = std::env::args().nth(1).ok_or("expected a URI, as s3://bucket/prefix")?;
    let store = vacuole_store::open(&vacuole_store::Uri::parse(&uri)?)?;
    for (number, (name, check)) in suite::CHECKS.into_iter().enumerate() {
        println!("{name}");
        check(&*store, &format!("check{number}"));
    }
    store.remove_folder("")?;
    println!("{} checks", suite::CHECKS.len());
    Ok(())
}
