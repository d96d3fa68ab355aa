//! `.signatures.json`: one JSON Web Token that lists every file of a bundle with its digest.
//!
//! As in OPA, the algorithm is that of the configured key; the token's own word for it is not asked (a token that
//! chooses how it is checked was a whole family of forgeries).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::archive::{self, Files};
use super::canonical::Node;
use super::{BundleError, MANIFEST};
use crate::jws::{PrivateKey, PublicKey};

/// Which signatures of a bundle count.
#[derive(Debug, Clone, Default)]
pub struct Verification {
    /// The keys by their ids, each with the scope that its signatures must name unless the bundle's does.
    pub keys: BTreeMap<String, (PublicKey, String)>,
    /// The id of the only key that counts; `None` leaves that to the token, which then says one of `keys`.
    pub key_id: Option<String>,
    /// The scope that the signature must name; `None` takes that of its key.
    pub scope: Option<String>,
}

/// `.signatures.json`
#[derive(Debug, Serialize, Deserialize)]
struct Signatures {
    signatures: Vec<String>,
}

/// The token's header, as far as it is read.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    alg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crit: Option<Vec<String>>,
}

/// What the token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    files: Vec<Listed>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    keyid: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    scope: String,
}

/// One file in the token.
#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    name: String,
    hash: String,
    algorithm: String,
}

impl Verification {
    /// Checks the text of `.signatures.json` against all other files.
    pub(super) fn check(&self, signatures: &[u8], files: &Files) -> Result<(), BundleError> {
        let claims = self.claims(signatures)?;
        let mut listed = BTreeMap::new();
        for file in claims.files {
            let name = archive::plain(&file.name)?;
            if listed.insert(name.clone(), file).is_some() {
                return Err(wrong(format!("it lists `{name}` twice")));
            }
        }
        for (path, bytes) in files {
            let Some(file) = listed.remove(path) else {
                return Err(wrong(format!("it does not list `{path}`")));
            };
            let digest = digest(&file.algorithm, path, bytes)?;
            if !digest.eq_ignore_ascii_case(&file.hash) {
                return Err(wrong(format!("`{path}` is not the file that was signed")));
            }
        }
        match listed.into_keys().next() {
            None => Ok(()),
            Some(missing) => Err(wrong(format!("it lists `{missing}`, which is not in the bundle"))),
        }
    }

    /// What the one token says, once its signature holds.
    fn claims(&self, signatures: &[u8]) -> Result<Claims, BundleError> {
        let Signatures { signatures } = serde_json::from_slice(signatures)
            .map_err(|error| wrong(format!("`.signatures.json` can't be read: {error}")))?;
        let [token] = signatures.as_slice() else {
            let what = format!("`.signatures.json` holds {} tokens instead of one", signatures.len());
            return Err(wrong(what));
        };
        let no_token = || wrong("`.signatures.json` holds no signed token".to_owned());
        let (signed, signature) = token.rsplit_once('.').ok_or_else(no_token)?;
        let (header, claims) = signed.split_once('.').ok_or_else(no_token)?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| no_token());
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| no_token())?;
        let claims: Claims = serde_json::from_slice(&decoded(claims)?)
            .map_err(|error| wrong(format!("the token's claims can't be read: {error}")))?;
        if header.crit.is_some() {
            return Err(wrong("the token has critical extensions, which are not known here".to_owned()));
        }
        let deprecated = Some(&claims.keyid).filter(|id| !id.is_empty());
        let id = self.key_id.as_ref().or(header.kid.as_ref().filter(|id| !id.is_empty())).or(deprecated);
        let id = id.ok_or_else(|| wrong("neither configuration nor token says by which key".to_owned()))?;
        let Some((key, key_scope)) = self.keys.get(id) else {
            return Err(wrong(format!("no key `{id}` is configured for this bundle")));
        };
        if !key.verifies(signed.as_bytes(), &decoded(signature)?) {
            let how = key.algorithm().name();
            return Err(wrong(format!("it is not by the key `{id}` ({how})")));
        }
        let scope = self.scope.as_ref().unwrap_or(key_scope);
        if &claims.scope != scope {
            return Err(wrong(format!("its scope is `{}`, and `{scope}` is wanted", claims.scope)));
        }
        Ok(claims)
    }
}

/// The text of `.signatures.json` over `files`.
pub(super) fn sign(
    files: &Files,
    key: &PrivateKey,
    key_id: &str,
    scope: &str,
) -> Result<Vec<u8>, BundleError> {
    let listed = files.iter().map(|(path, bytes)| {
        let hash = digest(USUAL, path, bytes)?;
        Ok(Listed { name: path.clone(), hash, algorithm: USUAL.to_owned() })
    });
    let claims = Claims {
        files: listed.collect::<Result<_, BundleError>>()?,
        keyid: String::new(),
        scope: scope.to_owned(),
    };
    let alg = Some(key.algorithm().name().to_owned());
    let header = Header { alg, kid: Some(key_id.to_owned()), crit: None };
    let encoded = |json: serde_json::Result<String>| {
        json.map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|error| wrong(error.to_string()))
    };
    let signed =
        format!("{}.{}", encoded(serde_json::to_string(&header))?, encoded(serde_json::to_string(&claims))?);
    let signature = key.sign(signed.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    let text = serde_json::to_vec(&Signatures { signatures: vec![token] });
    text.map_err(|error| wrong(error.to_string()))
}

/// The digest of a file in hexadecimal: of JSON that is read as such, by its content; of others, by their bytes.
fn digest(algorithm: &str, path: &str, bytes: &[u8]) -> Result<String, BundleError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let canonical = match name {
        "data.json" | MANIFEST => {
            let text = str::from_utf8(bytes).map_err(|_| wrong(format!("`{path}` is not UTF-8")))?;
            Some(Node::parse(text).map_err(|why| wrong(format!("`{path}` is no JSON: {why}")))?.text())
        }
        _ => None,
    };
    let bytes = canonical.as_ref().map_or(bytes, String::as_bytes);
    match algorithm {
        "SHA-256" => Ok(hex(&Sha256::digest(bytes))),
        "SHA-384" => Ok(hex(&Sha384::digest(bytes))),
        "SHA-512" => Ok(hex(&Sha512::digest(bytes))),
        other => Err(wrong(format!(
            "it lists `{path}` by the digest `{other}`: SHA-256, SHA-384 and SHA-512 are trusted"
        ))),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn wrong(what: String) -> BundleError {
    BundleError::Signature(what)
}

/// The digest that OPA lists files by, unless told otherwise.
const USUAL: &str = "SHA-256";
