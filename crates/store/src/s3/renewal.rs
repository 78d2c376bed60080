//! New credentials in the place of those that have ended while a program runs.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use object_store::aws::AwsAuthorizer;
use object_store::client::HttpRequest;

use super::chain::ChainCredentials;
use crate::remote::http::Renew;

const TOKEN: &str = "x-amz-security-token";
const DIGEST: &str = "x-amz-content-sha256";

/// Where new credentials come from, and what requests are signed for.
#[derive(Clone, Debug)]
pub(super) struct Renewal {
    pub(super) credentials: Arc<ChainCredentials>,
    pub(super) region: String,
}

#[async_trait]
impl Renew for Renewal {
    async fn sign_again(&self, request: &mut HttpRequest) -> bool {
        let header = |name: &str| request.headers().get(name).and_then(|text| text.to_str().ok());
        let Some(key) = header(AUTHORIZATION.as_str()).and_then(signer) else { return false };
        let Some(digest) = header(DIGEST).and_then(from_hex) else { return false };
        let Some(new) = self.credentials.instead_of(key, header(TOKEN)).await else { return false };
        request.headers_mut().remove(AUTHORIZATION);
        request.headers_mut().remove(TOKEN);
        let authorizer = AwsAuthorizer::new(&new, "s3", &self.region);
        authorizer.try_authorize(request, Some(&digest)).is_ok()
    }
}

/// Whose signature it is: the key's id.
fn signer(authorization: &str) -> Option<&str> {
    let (_, rest) = authorization.split_once("Credential=")?;
    rest.split_once('/').map(|(key, _)| key)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signer_and_the_digest_are_found() {
        let text = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu/s3/aws4_request, SignedHeaders=a";
        assert_eq!(signer(text), Some("AKIA"));
        assert_eq!(signer("AWS AKIA:x"), None);
        assert_eq!(from_hex("00fFa1"), Some(vec![0, 255, 161]));
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("UNSIGNED-PAYLOAD"), None);
    }
}
