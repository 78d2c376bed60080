//! `docs/cli.md` describes the program as it is. The exit codes are compared beside the code, in `src/error.rs`.

#![allow(clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../../docs/cli.md");

fn help(arguments: &[&str]) -> String {
    let program = assert_cmd::cargo::cargo_bin!("vacuole");
    let output = std::process::Command::new(program).args(arguments).arg("--help").output();
    let output = output.expect("the program runs");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("help is UTF-8")
}

/// The first words of the lines of a section of a help text.
fn entries(help: &str, section: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != section).skip(1);
    // Descriptions go on in lines that are indented further.
    let lines =
        lines.take_while(|line| line.starts_with(' ')).filter_map(|line| line.strip_prefix("  "));
    lines
        .filter_map(|line| line.split(' ').next())
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect()
}

/// All commands, those of a group as `bucket ls`.
fn commands() -> BTreeSet<String> {
    let named = |help: &str| {
        entries(help, "Commands:").into_iter().filter(|name| name != "help").collect::<Vec<_>>()
    };
    let with_group = |name: String| {
        let inner = named(&help(&[&name]));
        match inner.is_empty() {
            true => vec![name],
            false => inner.into_iter().map(|inner| format!("{name} {inner}")).collect(),
        }
    };
    named(&help(&[])).into_iter().flat_map(with_group).collect()
}

/// The part of the page below the heading of `command`.
fn section(command: &str) -> &'static str {
    let heading = format!("### `vacuole {command}`\n");
    let (_, rest) = PAGE.split_once(&heading).unwrap_or_else(|| panic!("no heading {heading}"));
    rest.split("\n#").next().unwrap_or(rest)
}

/// The long options that a text names, in order.
fn options(text: &str) -> BTreeSet<String> {
    let name = |word: &str| {
        let end = word.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(word.len());
        word.get(..end).filter(|word| word.len() > 2).map(str::to_owned)
    };
    text.split(['`', ' ', '\n', '\t', ','])
        .filter(|w| w.starts_with("--"))
        .filter_map(name)
        .collect()
}

#[test]
fn every_command_has_a_section() {
    let found =
        PAGE.lines().filter_map(|line| line.strip_prefix("### `vacuole ")?.strip_suffix('`'));
    let found: BTreeSet<String> = found.map(str::to_owned).collect();
    let commands = commands();
    assert!(commands.len() > 4, "{commands:?}");
    assert_eq!(found, commands);
}

#[test]
fn every_option_is_described_and_exists() {
    let (general, _) = PAGE.split_once("\n## Commands").expect("a heading");
    let general = options(&general.lines().filter(|l| l.starts_with('|')).collect::<String>());
    assert_eq!(general.len(), 9, "{general:?}");
    for command in commands() {
        let help = help(&command.split(' ').collect::<Vec<_>>());
        let mut real: BTreeSet<String> = help
            .lines()
            .filter(|line| line.trim_start().starts_with('-'))
            .flat_map(|line| options(line.trim_start().split("  ").next().unwrap_or(line)))
            .collect();
        assert!(general.is_subset(&real), "{command}: {real:?}");
        real.retain(|option| !general.contains(option));
        let described: BTreeSet<String> =
            section(&command).lines().filter(|l| l.starts_with('|')).flat_map(options).collect();
        assert_eq!(described, real, "{command}");
    }
}
