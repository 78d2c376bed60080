//! Answers in XML, as a tree of elements. What a server says is bounded in size and depth, and odd answers are errors.

use quick_xml::Reader;
use quick_xml::events::Event;

/// The deepest answer of S3 has five levels.
const DEEPEST: usize = 16;

/// An element: its name without a namespace, what it holds as text, and the elements in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// The first element of a name.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All elements of a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first element of a name; `None` where there is none or it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str()).filter(|text| !text.is_empty())
    }
}

/// Parses an answer. The error says what is wrong with it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Element, String> {
    let mut reader = Reader::from_reader(bytes);
    let mut open = vec![Element::default()];
    loop {
        let at = reader.buffer_position();
        let odd =
            |message: &dyn std::fmt::Display| format!("{message}, at byte {at} of the answer");
        match reader.read_event().map_err(|error| odd(&error))? {
            Event::Start(start) => {
                if open.len() > DEEPEST {
                    return Err(odd(&format!("more than {DEEPEST} levels")));
                }
                open.push(named(start.local_name().as_ref()));
            }
            Event::Empty(start) => {
                let element = named(start.local_name().as_ref());
                if let Some(parent) = open.last_mut() {
                    parent.children.push(element);
                }
            }
            Event::End(_) => {
                if let Some(element) = open.pop()
                    && let Some(parent) = open.last_mut()
                {
                    parent.children.push(element);
                }
            }
            Event::Text(text) => {
                let text = text.decode().map_err(|error| odd(&error))?;
                push(&mut open, &text);
            }
            Event::CData(text) => {
                let text = text.decode().map_err(|error| odd(&error))?;
                push(&mut open, &text);
            }
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref() {
                    Ok(Some(character)) => character,
                    _ => predefined(reference.as_ref())
                        .ok_or_else(|| odd(&"an entity that XML does not have"))?,
                };
                push(&mut open, character.encode_utf8(&mut [0; 4]));
            }
            Event::Eof => break,
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    match open.as_mut_slice() {
        [root] if root.children.len() == 1 => Ok(root.children.remove(0)),
        _ => Err("expected one whole XML element".to_owned()),
    }
}

fn named(name: &[u8]) -> Element {
    Element { name: String::from_utf8_lossy(name).into_owned(), ..Element::default() }
}

fn push(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn predefined(name: &[u8]) -> Option<char> {
    match name {
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"amp" => Some('&'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        _ => None,
    }
}

/// Text as it stands in an element. Characters that XML cannot hold have to be left to the server to refuse.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            // Parsers make spaces or line ends of these.
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            '\t' => escaped.push_str("&#9;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_text_and_entities() {
        let text = br#"<?xml version="1.0"?><a xmlns="x"><b>1 &lt;&#38;&#x41;</b><b/><c:d><![CDATA[<e>]]></c:d></a>"#;
        let root = parse(text).unwrap();
        assert_eq!(root.name, "a");
        assert_eq!(root.get("b"), Some("1 <&A"));
        assert_eq!(root.all("b").count(), 2);
        assert_eq!(root.get("d"), Some("<e>"));
        assert_eq!(root.get("none"), None);
    }

    #[test]
    fn odd_answers_are_errors() {
        for wrong in ["", "text", "<a>", "<a></b>", "<a/><b/>", "<a>&unknown;</a>", "</a>"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(parse("<a>".repeat(100).as_bytes()).is_err());
    }

    #[test]
    fn cut_anywhere_it_is_an_error() {
        let whole = "<?xml version=\"1.0\"?><a><b>x &amp; y</b><c/><d><![CDATA[z]]></d></a>";
        assert!(parse(whole.as_bytes()).is_ok());
        for end in 0..whole.len() {
            assert!(parse(&whole.as_bytes()[..end]).is_err(), "{}", &whole[..end]);
        }
    }

    #[test]
    fn what_later_versions_add_is_passed_over() {
        let text =
            "<a version=\"9\" xmlns:n=\"later\"><n:new flag=\"1\"><e>x</e></n:new><b>1</b></a>";
        assert_eq!(parse(text.as_bytes()).unwrap().get("b"), Some("1"));
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_read_back(text in "[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f]*") {
            let root = parse(format!("<a><b>{}</b></a>", escape(&text)).as_bytes()).unwrap();
            prop_assert_eq!(&root.child("b").unwrap().text, &text);
        }

        #[test]
        fn whatever_comes_there_is_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
