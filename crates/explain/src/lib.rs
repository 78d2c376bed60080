//! Errors as users are told them: what kind it is, what was found, and what to do. The command line makes exit codes and
//! JSON of them, the Python package exceptions.

use std::fmt;

use vacuole_anndata::ErrorKind as AnnDataKind;
use vacuole_soma::ErrorKind as SomaKind;

/// What a script can tell apart: the exit code, and the `kind` of the JSON error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The system or the network failed.
    Io,
    /// The command line or a call is wrong.
    Usage,
    /// It is not there.
    NotFound,
    /// Something else is there.
    AlreadyExists,
    /// The input cannot be taken.
    InvalidInput,
    /// The bytes are not what was written.
    Corrupt,
    /// It is written in a form that is not read.
    Unsupported,
    /// Another writer was at it.
    Conflict,
    /// It is not allowed.
    Permission,
    /// The disk is full.
    NoSpace,
    /// It can be read and not checked.
    NotChecksummed,
    /// It is larger than what is taken.
    TooLarge,
    /// The user has stopped it.
    Interrupted,
}

impl Kind {
    /// All kinds, as `docs/cli.md` lists them.
    pub const ALL: [Self; 13] = [
        Self::Io,
        Self::Usage,
        Self::NotFound,
        Self::AlreadyExists,
        Self::InvalidInput,
        Self::Corrupt,
        Self::Unsupported,
        Self::Conflict,
        Self::Permission,
        Self::NoSpace,
        Self::NotChecksummed,
        Self::TooLarge,
        Self::Interrupted,
    ];

    /// The exit code of the command line.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Io => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::AlreadyExists => 4,
            Self::InvalidInput => 5,
            Self::Corrupt => 6,
            Self::Unsupported => 7,
            Self::Conflict => 8,
            Self::Permission => 9,
            Self::NoSpace => 10,
            Self::NotChecksummed => 11,
            Self::TooLarge => 12,
            // As shells count: 128, and the number of SIGINT.
            Self::Interrupted => 130,
        }
    }

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::InvalidInput => "invalid_input",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::Conflict => "conflict",
            Self::Permission => "permission_denied",
            Self::NoSpace => "no_space",
            Self::NotChecksummed => "not_checksummed",
            Self::TooLarge => "too_large",
            Self::Interrupted => "interrupted",
        }
    }

    /// What to do, where the error itself does not say it.
    fn remedy(self) -> &'static str {
        match self {
            Self::Io => "see what the system says; the same command can be run again",
            Self::Usage => {
                "`vacuole --help` lists the commands, `vacuole COMMAND --help` their options"
            }
            Self::NotFound => "check the name, and that it is seen from here",
            Self::AlreadyExists => "choose another destination",
            Self::InvalidInput => "correct it and run the command again",
            Self::Corrupt => {
                "take another copy, or make it again: these bytes are not what was written"
            }
            Self::Unsupported => "write it in a form that is read, for H5AD with a current anndata",
            Self::Conflict => "wait until the other writer is done, and run the command again",
            Self::Permission => "allow the user to write there, or choose another place",
            Self::NoSpace => "make room, and run the same command again",
            Self::NotChecksummed => "ingest the data with vacuole to have them checksummed",
            Self::TooLarge => "write it in smaller chunks, or check that it is what it seems to be",
            Self::Interrupted => "run the same command to go on",
        }
    }
}

/// The remedy where the input may be either and is neither.
const NEITHER: &str = "give the folder of an experiment, or an H5AD file";

/// The remedy where the input is something else.
const NO_H5AD: &str = "give the path of an H5AD file";

/// The remedy where a file was not there any more that was there when its array was opened.
const VANISHED: &str = "run the command again, as somebody has vacuumed the array meanwhile; if it fails again, `vacuole verify` tells what is missing";

/// The folders of an array whose files go when it is vacuumed.
const VACUUMED: [&str; 3] = ["/__fragments/", "/__commits/", "/__meta/"];

/// An error as users are told it.
#[derive(Debug)]
pub struct Explained {
    /// What kind it is.
    pub kind: Kind,
    /// Where, what was expected and what was found.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// The file or URI, and for H5AD files the element in it.
    pub object: Option<String>,
}

impl Explained {
    /// An error of `kind`. The libraries' messages may end in "; " and the remedy.
    fn new(kind: Kind, message: &str) -> Self {
        let (message, remedy) = match message.rsplit_once("; ") {
            // A filter's message goes on in lines that show the place.
            Some((message, remedy)) if !remedy.replace("://", "").contains(['\n', ':']) => {
                (message, remedy)
            }
            _ => (message, kind.remedy()),
        };
        Self { kind, message: message.to_owned(), remedy: remedy.to_owned(), object: None }
    }

    /// Puts what the error is about in front of the message.
    fn about(mut self, object: impl fmt::Display) -> Self {
        self.message = format!("{object}: {}", self.message);
        self.object = Some(object.to_string());
        self
    }

    fn with_remedy(self, remedy: &str) -> Self {
        Self { remedy: remedy.to_owned(), ..self }
    }

    /// Where the input could have been an experiment as well.
    pub fn about_either(self) -> Self {
        match self.remedy == NO_H5AD {
            true => self.with_remedy(NEITHER),
            false => self,
        }
    }

    /// A wrong command line.
    pub fn usage(object: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, &message.to_string()).about(object)
    }

    /// Something that is asked for, and is wrong.
    pub fn invalid_input(object: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(Kind::InvalidInput, &message.to_string()).about(object)
    }

    /// Something else that is there.
    pub fn already_exists(object: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(Kind::AlreadyExists, &message.to_string()).about(object)
    }

    /// Something that is not there.
    pub fn not_found(object: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(Kind::NotFound, &message.to_string()).about(object)
    }

    /// Something that is not sound.
    pub fn corrupt(object: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(Kind::Corrupt, &message.to_string()).about(object)
    }

    /// Something that can be read, but not checked.
    pub fn not_checksummed(object: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(Kind::NotChecksummed, &message.to_string()).about(object)
    }

    /// The user has stopped the program; the same command `goes_on`, or begins again.
    pub fn interrupted(goes_on: bool) -> Self {
        let remedy = if goes_on { Kind::Interrupted.remedy() } else { "run the command again" };
        Self::new(Kind::Interrupted, &format!("interrupted; {remedy}"))
    }

    /// Adds what caused the error, as far as the message does not say it already.
    fn caused_by(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // The message may be this text without the remedy at its end.
            let bare = text.rsplit_once("; ").map_or(text.as_str(), |(message, _)| message);
            if !self.message.contains(bare) {
                self.message = format!("{}: {text}", self.message);
            }
            source = cause.source();
        }
        self
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = if self.message.contains('\n') { "\n" } else { "; " };
        write!(f, "{}{between}{}", self.message, self.remedy)
    }
}

impl From<vacuole_soma::Error> for Explained {
    fn from(error: vacuole_soma::Error) -> Self {
        use vacuole_soma::Error;
        let kind = match (&error, error.kind()) {
            (Error::Store(store), SomaKind::Store) => store_kind(store),
            (Error::Store(store), SomaKind::NotFound) if has_vanished(store) => Kind::Conflict,
            (_, SomaKind::NotFound) => Kind::NotFound,
            (_, SomaKind::AlreadyExists) => Kind::AlreadyExists,
            (_, SomaKind::Corrupt | SomaKind::Checksum) => Kind::Corrupt,
            (_, SomaKind::Unsupported) => Kind::Unsupported,
            (_, SomaKind::InvalidInput) => Kind::InvalidInput,
            (_, SomaKind::Conflict) => Kind::Conflict,
            _ => Kind::Io,
        };
        let told = match &error {
            Error::Other { object, message, .. } => {
                let told = Self::new(kind, message).about(object);
                // A column, a layer or a measurement that is none of those that the message lists.
                match told.remedy == Kind::NotFound.remedy() && message.contains(", found ") {
                    true => told.with_remedy("check the name"),
                    false => told,
                }
            }
            other => {
                let object = match other {
                    Error::Format(error) => error.object(),
                    Error::Store(error) => Some(error.object()),
                    Error::Arrow { object, .. } => Some(object.as_str()),
                    _ => None,
                };
                let told = Self::new(kind, &other.to_string());
                let told = Self { object: object.map(str::to_owned), ..told };
                match (other, kind) {
                    (Error::Store(store), _)
                        if store.kind() == vacuole_store::ErrorKind::NotAFolder =>
                    {
                        told.with_remedy("give the folder of an experiment")
                    }
                    (Error::Store(_), Kind::Conflict) if told.remedy == kind.remedy() => {
                        told.with_remedy(VANISHED)
                    }
                    (Error::Store(_), Kind::InvalidInput) if told.remedy == kind.remedy() => {
                        told.with_remedy("choose another place")
                    }
                    (Error::Store(_), Kind::Unsupported) if told.remedy == kind.remedy() => {
                        told.with_remedy("choose a local folder or one in a bucket of S3")
                    }
                    _ => told,
                }
            }
        };
        told.caused_by(&error)
    }
}

/// Whether this is about a file whose name was found in its array.
fn has_vanished(error: &vacuole_store::Error) -> bool {
    error.kind() == vacuole_store::ErrorKind::NotFound
        && VACUUMED.iter().any(|folder| error.object().contains(folder))
}

fn store_kind(error: &vacuole_store::Error) -> Kind {
    match error.kind() {
        vacuole_store::ErrorKind::PermissionDenied => Kind::Permission,
        vacuole_store::ErrorKind::NoSpace => Kind::NoSpace,
        _ => Kind::Io,
    }
}

impl From<vacuole_store::Error> for Explained {
    fn from(error: vacuole_store::Error) -> Self {
        use vacuole_store::ErrorKind;
        let kind = match error.kind() {
            ErrorKind::NotFound => Kind::NotFound,
            ErrorKind::AlreadyExists => Kind::AlreadyExists,
            ErrorKind::InvalidInput | ErrorKind::NotAFolder => Kind::InvalidInput,
            ErrorKind::Unsupported => Kind::Unsupported,
            ErrorKind::Conflict => Kind::Conflict,
            ErrorKind::Corrupt | ErrorKind::Truncated => Kind::Corrupt,
            _ => store_kind(&error),
        };
        let told = Self::new(kind, &error.to_string());
        Self { object: Some(error.object().to_owned()), ..told }
    }
}

impl From<vacuole_anndata::Error> for Explained {
    fn from(error: vacuole_anndata::Error) -> Self {
        let kind = match error.kind() {
            AnnDataKind::Corrupt => Kind::Corrupt,
            AnnDataKind::Unsupported => Kind::Unsupported,
            AnnDataKind::TooLarge => Kind::TooLarge,
            AnnDataKind::InvalidInput | AnnDataKind::NotH5ad => Kind::InvalidInput,
            _ => io_kind(&error),
        };
        let mut told = Self::new(kind, error.message());
        if error.kind() == AnnDataKind::NotH5ad {
            told = told.with_remedy(NO_H5AD);
        }
        let element = error.element().filter(|element| !element.is_empty());
        let place: Vec<&str> = error.file().into_iter().chain(element).collect();
        if !place.is_empty() {
            told = told.about(place.join(": "));
        }
        told.caused_by(&error)
    }
}

/// What the operating system said, where it is among an error's causes.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> Kind {
    use std::io::ErrorKind;
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return match io.kind() {
                ErrorKind::NotFound => Kind::NotFound,
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Kind::Permission,
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                    Kind::NoSpace
                }
                ErrorKind::IsADirectory | ErrorKind::NotADirectory | ErrorKind::InvalidFilename => {
                    Kind::InvalidInput
                }
                _ => Kind::Io,
            };
        }
        cause = error.source();
    }
    Kind::Io
}

impl From<vacuole_query::Error> for Explained {
    fn from(error: vacuole_query::Error) -> Self {
        match error {
            vacuole_query::Error::Soma(error) => error.into(),
            vacuole_query::Error::AnnData(error) => error.into(),
            other => Self::new(Kind::Io, &other.to_string()).caused_by(&other),
        }
    }
}

impl From<vacuole_ingest::Error> for Explained {
    fn from(error: vacuole_ingest::Error) -> Self {
        use vacuole_ingest::Error;
        match error {
            Error::AnnData(error) => error.into(),
            Error::Soma(error) => error.into(),
            Error::Input { path, source } => {
                let told = Self::new(io_kind(&source), &source.to_string()).about(path);
                match told.kind {
                    Kind::InvalidInput => told.with_remedy(NO_H5AD),
                    Kind::Permission => told.with_remedy("allow the user to read it"),
                    _ => told,
                }
            }
            Error::Conflict { object, message } => {
                Self::new(Kind::AlreadyExists, &message).about(object)
            }
            Error::Unfit { object, message } => {
                Self::new(Kind::InvalidInput, &message).about(object)
            }
            other => Self::new(Kind::Io, &other.to_string()).caused_by(&other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_and_names_are_distinct() {
        for (i, a) in Kind::ALL.iter().enumerate() {
            for b in &Kind::ALL[..i] {
                assert_ne!(a.exit_code(), b.exit_code());
                assert_ne!(a.name(), b.name());
            }
        }
    }

    #[test]
    fn the_remedy_of_a_message_goes_before_that_of_its_kind() {
        let message = "expected an empty folder, found 'x'; choose another destination".to_owned();
        let error = vacuole_ingest::Error::Conflict { object: "atlas".to_owned(), message };
        let told = Explained::from(error);
        assert_eq!(told.message, "atlas: expected an empty folder, found 'x'");
        assert_eq!(told.remedy, "choose another destination");
        assert_eq!(told.object.as_deref(), Some("atlas"));
        let store = vacuole_store::Error::new(
            vacuole_store::ErrorKind::PermissionDenied,
            "s3://b/atlas",
            "cannot be listed: no credentials; set AWS_PROFILE",
        );
        let told = Explained::from(vacuole_soma::Error::from(store));
        assert_eq!(
            told.to_string(),
            "s3://b/atlas: cannot be listed: no credentials; set AWS_PROFILE"
        );
        let told = Explained::corrupt("atlas", "2 faults");
        assert!(told.to_string().starts_with("atlas: 2 faults; take another copy"));
    }

    #[test]
    fn a_name_that_is_not_among_others_is_told_from_a_place() {
        let remedy = |message: &str| {
            let kind = vacuole_soma::ErrorKind::NotFound;
            let error = vacuole_soma::Error::new(kind, "atlas/obs", message.to_owned());
            Explained::from(error).remedy
        };
        assert_eq!(remedy("expected a column 'x', found soma_joinid, obs_id"), "check the name");
        assert_eq!(
            remedy("there is no SOMA object here"),
            "check the name, and that it is seen from here"
        );
        assert_eq!(remedy("expected 1 id, found no row with it; correct it"), "correct it");
    }

    #[test]
    fn a_file_that_vanishes_is_no_wrong_name() {
        let missing = |object: &str| {
            let kind = vacuole_store::ErrorKind::NotFound;
            let error = vacuole_store::Error::new(kind, object, "cannot be read");
            Explained::from(vacuole_soma::Error::from(error))
        };
        let told = missing("s3://b/atlas/obs/__fragments/__1_1_a_22/d0.tdb");
        assert_eq!((told.kind, told.remedy.as_str()), (Kind::Conflict, VANISHED));
        assert_eq!(missing("atlas/obs").kind, Kind::NotFound);
    }
}
