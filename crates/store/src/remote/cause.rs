//! What lies below an error of the network, and in the answer of a server.

use std::error::Error as StdError;

/// What an error began with.
pub(crate) fn innermost<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause
}

/// A cause of a type.
pub(crate) fn find<'a, T: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// What an element of the answer holds.
pub(crate) fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(found, _)| found.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_an_answer_are_found() {
        let text = "403 Forbidden: <Error><Code>AccessDenied</Code><Message>No.</Message></Error>";
        assert_eq!(tag(text, "Code"), Some("AccessDenied"));
        assert_eq!(tag(text, "Region"), None);
        assert_eq!(tag("<Code>cut", "Code"), None);
    }
}
