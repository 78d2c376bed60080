//! A mark on an object that tells who has put it.
//!
//! A server may do what it is asked, and its answer be lost. Asked again it then says that there is an object already, or
//! that there is no such upload. The mark, a random number in the object's metadata, says whether that was us.

use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, ObjectStore};

use super::bucket::Bucket;

/// The name in the object's metadata, which S3 calls `x-amz-meta-vacuole-put`.
const NAME: &str = "vacuole-put";

/// Tells one attempt to make an object from all others.
#[derive(Debug)]
pub(super) struct Mark(String);

/// By whom an object was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Ours,
    Anothers,
    Nobodys,
}

impl Mark {
    pub(super) fn new() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// What the object is put with: the mark, and what everything in the bucket is.
    pub(super) fn attributes(&self, bucket: &Bucket) -> Attributes {
        let mut attributes = bucket.attributes();
        attributes.insert(Attribute::Metadata(NAME.into()), self.0.clone().into());
        attributes
    }

    /// Who has put the object that is there now.
    pub(super) async fn whose(&self, bucket: &Bucket, path: &Path) -> object_store::Result<Whose> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match bucket.s3.get_opts(path, options).await {
            Ok(found) => {
                let mark = found.attributes.get(&Attribute::Metadata(NAME.into()));
                Ok(match mark.is_some_and(|mark| mark.as_ref() == self.0) {
                    true => Whose::Ours,
                    false => Whose::Anothers,
                })
            }
            Err(object_store::Error::NotFound { .. }) => Ok(Whose::Nobodys),
            Err(error) => Err(error),
        }
    }
}
