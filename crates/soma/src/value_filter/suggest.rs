//! Columns and categories that resemble one that does not exist.

/// Names longer than this are not compared: the cost grows with the product of the lengths.
const LONGEST: usize = 100;

/// How many are given.
const MOST: usize = 3;

/// Shorter texts occur in too many values.
const SHORTEST_PART: usize = 3;

/// The names nearest to `wanted`, nearest first, at most three; empty where none is near.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let plain = |name: &str| -> Vec<char> { name.to_lowercase().chars().collect() };
    let target = plain(wanted);
    if target.len() > LONGEST {
        return Vec::new();
    }
    let mut found: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let candidate = plain(name);
            if candidate.len() > LONGEST {
                return None;
            }
            let allowed = (target.len().max(candidate.len()) / 3).max(1);
            // No fewer edits than characters that one has more.
            if target.len().abs_diff(candidate.len()) > allowed {
                return None;
            }
            let distance = edits(&target, &candidate);
            (distance <= allowed && distance < target.len()).then_some((distance, name))
        })
        .collect();
    found.sort();
    found.into_iter().take(MOST).map(|(_, name)| name.to_owned()).collect()
}

/// The categories nearest to `wanted`: those nearest by spelling, then the shortest in which it occurs.
pub(super) fn nearest_values<'a>(
    wanted: &str,
    values: impl Iterator<Item = &'a str> + Clone,
) -> Vec<String> {
    let mut found = nearest(wanted, values.clone());
    let target = wanted.to_lowercase();
    if found.len() < MOST && target.chars().count() >= SHORTEST_PART {
        let mut longer: Vec<&str> = values
            .filter(|value| value.to_lowercase().contains(&target))
            .filter(|value| !found.iter().any(|known| known == value))
            .collect();
        longer.sort_by_key(|value| (value.len(), *value));
        found.extend(longer.into_iter().take(MOST - found.len()).map(str::to_owned));
    }
    found
}

/// Insertions, deletions and replacements from one name to the other.
fn edits(left: &[char], right: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut diagonal = i;
        let mut behind = i + 1;
        if let Some(first) = row.first_mut() {
            *first = behind;
        }
        for (cell, r) in row.iter_mut().skip(1).zip(right) {
            let replaced = diagonal + usize::from(l != r);
            diagonal = *cell;
            behind = replaced.min(diagonal + 1).min(behind + 1);
            *cell = behind;
        }
    }
    row.last().copied().unwrap_or(left.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chars(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    #[test]
    fn edits_are_counted() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("sex", "sexx", 1),
            ("flaw", "lawn", 2),
        ] {
            assert_eq!(edits(&chars(left), &chars(right)), expected, "{left} {right}");
        }
    }

    #[test]
    fn values_that_are_parts_of_others() {
        let values =
            ["CD8-positive T cell", "CD4 T cell", "T cel", "B cell", "macrophage", "T-CELL"];
        let near = |wanted: &str| nearest_values(wanted, values.iter().copied());
        assert_eq!(near("T cell"), ["B cell", "T cel", "T-CELL"]);
        assert_eq!(near("t cells"), ["B cell", "T cel", "T-CELL"]);
        assert_eq!(near("phage"), ["macrophage"]);
        assert!(near("zz").is_empty());
    }

    #[test]
    fn near_names_come_first() {
        let names = ["cell_type", "cell_types_fine", "tissue", "Sex", "n_genes"];
        let near = |wanted: &str| nearest(wanted, names.iter().copied());
        assert_eq!(near("celltype"), ["cell_type"]);
        assert_eq!(near("sex"), ["Sex"]);
        assert_eq!(near("n_gene"), ["n_genes"]);
        assert!(near("donor").is_empty());
        assert!(near("x").is_empty());
        assert!(near(&"x".repeat(100_000)).is_empty());
    }
}
