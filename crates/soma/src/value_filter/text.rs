//! Tests of texts: parts of them, SQL's patterns and regular expressions.

use regex::{Regex, RegexBuilder};

use super::ast::TextTest;

/// What a compiled pattern may take up. Matching then takes time in proportion to the text.
const LARGEST: usize = 10 << 20;

/// A test with its pattern compiled.
#[derive(Debug, Clone)]
pub(super) struct Text {
    test: TextTest,
    wanted: String,
    /// None for the two tests that are comparisons of bytes.
    pattern: Option<Regex>,
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.test == other.test && self.wanted == other.wanted
    }
}

impl Text {
    /// Compiles a test.
    ///
    /// # Errors
    /// What is wrong with a pattern.
    pub(super) fn new(test: TextTest, wanted: &str) -> Result<Self, String> {
        let pattern = match test {
            TextTest::StartsWith | TextTest::EndsWith => None,
            TextTest::Contains => Some(compiled(&regex::escape(wanted), false)?),
            TextTest::Matches => Some(compiled(wanted, false)?),
            TextTest::Like => Some(compiled(&like(wanted)?, false)?),
            TextTest::Ilike => Some(compiled(&like(wanted)?, true)?),
        };
        Ok(Self { test, wanted: wanted.to_owned(), pattern })
    }

    pub(super) fn holds(&self, text: &str) -> bool {
        match (&self.pattern, self.test) {
            (Some(pattern), _) => pattern.is_match(text),
            (None, TextTest::EndsWith) => text.ends_with(&self.wanted),
            (None, _) => text.starts_with(&self.wanted),
        }
    }
}

fn compiled(pattern: &str, any_case: bool) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern).size_limit(LARGEST).case_insensitive(any_case).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            format!("this pattern takes more than {} MiB: make it shorter", LARGEST >> 20)
        }
        // The message draws the pattern first, and says what is wrong with it in its last line.
        error => {
            let message = error.to_string();
            let reason = message.rsplit("error: ").next().unwrap_or(&message).trim();
            format!("this is no regular expression: {reason}")
        }
    })
}

/// The regular expression of a pattern of SQL: `%` is any text, `_` any character, and a backslash takes the meaning of
/// what follows.
fn like(pattern: &str) -> Result<String, String> {
    let mut regex = String::from(r"(?s)\A");
    let mut plain = String::new();
    let mut chars = pattern.chars();
    loop {
        let c = chars.next();
        let wild = match c {
            Some('%') => ".*",
            Some('_') => ".",
            None => r"\z",
            Some('\\') => {
                let taken = chars.next().ok_or(
                    "this pattern ends in a backslash: write two of them, or four without an r \
                     before the string",
                )?;
                plain.push(taken);
                continue;
            }
            Some(other) => {
                plain.push(other);
                continue;
            }
        };
        regex.push_str(&regex::escape(&plain));
        regex.push_str(wild);
        plain.clear();
        if c.is_none() {
            return Ok(regex);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(test: TextTest, wanted: &str, text: &str) -> bool {
        Text::new(test, wanted).unwrap().holds(text)
    }

    #[test]
    fn like_is_about_the_whole_text() {
        for (pattern, text, expected) in [
            ("T%", "T cell", true),
            ("T%", "a T cell", false),
            ("%cell", "T cell", true),
            ("%cell", "T cells", false),
            ("T_cell", "T cell", true),
            ("T_cell", "T  cell", false),
            ("_", "é", true),
            ("_", "e\u{301}", false),
            ("a%b%c", "a\nb\nc", true),
            ("a%b%c", "acb", false),
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            (r"100\%", "100%", true),
            (r"100\%", "100x", false),
            (r"a\_b", "axb", false),
            (r"a\\%", r"a\b", true),
            (r"\é", "é", true),
            (".*", "ab", false),
            ("(a|b)[c]$", "(a|b)[c]$", true),
            ("T%", "t cell", false),
        ] {
            assert_eq!(holds(TextTest::Like, pattern, text), expected, "{text:?} like {pattern:?}");
        }
        assert!(holds(TextTest::Ilike, "t_CELL%ß", "T Cells ß"));
        assert!(holds(TextTest::Ilike, "É", "é"));
        assert!(Text::new(TextTest::Like, r"a\").unwrap_err().contains("backslash"));
    }

    #[test]
    fn parts() {
        assert!(
            holds(TextTest::StartsWith, "a.", "a.b") && !holds(TextTest::StartsWith, "a.", "ab")
        );
        assert!(holds(TextTest::EndsWith, "", "x") && !holds(TextTest::EndsWith, "xx", "x"));
        assert!(holds(TextTest::Contains, ".", "a.b") && !holds(TextTest::Contains, ".", "ab"));
        assert!(holds(TextTest::Contains, "", "") && !holds(TextTest::Contains, "A", "a"));
    }

    #[test]
    fn regular_expressions_are_found_anywhere() {
        assert!(holds(TextTest::Matches, "[cd]e", "abcdef"));
        assert!(!holds(TextTest::Matches, "^[cd]e", "abcdef"));
        assert!(holds(TextTest::Matches, "(?i)CELL$", "T cell"));
        assert!(holds(TextTest::Matches, r"^\w+$", "größe"));
        for (pattern, reason) in [
            ("(a", "unclosed group"),
            (r"(a)\1", "backreferences"),
            ("(?=a)", "look-around"),
            (r"\p{Nope}", "property"),
            ("(?:a{1000}){1000}", "10 MiB"),
        ] {
            let error = Text::new(TextTest::Matches, pattern).unwrap_err();
            assert!(error.contains(reason), "{pattern}: {error}");
            assert!(!error.contains('\n'), "{error:?}");
        }
    }

    /// Where a backtracking engine takes for ever.
    #[test]
    fn time_is_linear() {
        let text = "a".repeat(50_000);
        assert!(!holds(TextTest::Matches, "^(a+)+$b", &text));
        assert!(!holds(TextTest::Like, &"%a".repeat(40).replace("%a", "%a%"), "b"));
        assert!(!holds(TextTest::Like, &format!("{}b", "%a".repeat(20)), &text));
    }
}
