//! Inputs that fuzzing found once: none of them makes a target fail.

use std::fs;
use std::path::Path;

#[test]
fn no_input_makes_a_target_fail() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inputs");
    let mut ran = 0;
    for target in fs::read_dir(&folder).expect("the folder of inputs") {
        let target = target.expect("a folder").path();
        let name = target.file_name().and_then(|name| name.to_str()).expect("a name");
        let known = vacuole_fuzzed::TARGETS.iter().find(|(known, _)| *known == name);
        let (_, run) = known.unwrap_or_else(|| panic!("expected a target, found '{name}'"));
        for input in fs::read_dir(&target).expect("inputs") {
            let input = input.expect("an input").path();
            // A failure names its input in the output of the test.
            println!("{}", input.display());
            run(&fs::read(&input).expect("its bytes"));
            ran += 1;
        }
    }
    assert!(ran > 0, "expected inputs in {}, found none", folder.display());
}

#[test]
fn every_target_takes_an_empty_input() {
    for (_, run) in vacuole_fuzzed::TARGETS {
        run(&[]);
    }
}
